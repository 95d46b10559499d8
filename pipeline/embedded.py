"""What lies in a picture file beside the picture: Exif, with the orientation in it, the colour profile, XMP and IPTC; read from and put into
JPEG and PNG; read from WebP, and of TIFF the orientation and the profile. And what PNG tells of its colours.

Sources: ITU-T T.81 annex B (JPEG's segments), CIPA DC-008 (Exif), ICC.1 annex B (profiles in files), PNG third edition (chunks), Adobe's XMP
specification part 3 (XMP in files, and Photoshop's image resources, one of which is IPTC), TIFF 6.0 section 2, RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
SOI, HEADER = len(JPEG), len(PNG) + 25
"""Bytes after which they are put: JPEG's first marker; PNG's signature and IHDR."""

EXIF, ICC, XMP, PHOTOSHOP = b"Exif\0\0", b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
APP1, APP2, APP13, SCAN = 0xE1, 0xE2, 0xED, 0xDA

RESOURCE, IPTC = b"8BIM", 0x0404
"""Every resource of Photoshop begins so; its number for IPTC."""

ORIENTATION, COMPRESSION, PROFILE = 274, 259, 34675
"""TIFF's tags of the camera's orientation, which Exif has, too, of the compression, and of a colour profile."""

SHORT = 3
"""TIFF's type of numbers of two bytes."""

JPEG_IN_TIFF = (6, 7)
"""Compressions that FFmpeg opens and gives an empty picture of."""

XML = b"XML:com.adobe.xmp"
"""Keyword of XMP in PNG."""

PIECE = 65_500
"""Most bytes of anything in one JPEG segment."""

LARGEST = 255 * PIECE
"""Most bytes of a profile: as many as go into JPEG's segments."""

TURNS = ((1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, -1), (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0), (0, -1, 1, 0))
"""Exif's orientations, 1 to 8, as the signs of a, b, c and d of a display matrix."""

COLOURS = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
"""PNG's chunks that tell what its colours are, beside a profile, and their bytes."""

USUAL = {b"gAMA": (45455,), b"cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}
"""The gamma and the primaries of sRGB there, in 1/100000."""

CLOSE = 500
"""By which such a number may differ without changing the look."""

PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
TRANSFERS = {8: "linear", 16: "PQ", 18: "HLG"}
"""Numbers of ITU-T H.273, which are FFmpeg's, in words."""

SDR = frozenset(range(3)) | {5, 6, 7}, frozenset(range(8)) | set(range(11, 16))
"""Primaries and transfers that look like those of sRGB where nothing is told: of BT.709, BT.601 and the like."""

NAMES = ("Exif, with the camera's orientation", "the colour profile", "XMP", "IPTC")
MOST = {".png": (LARGEST, LARGEST, LARGEST, 0), ".jpg": (PIECE, LARGEST, PIECE, PIECE), ".jpeg": (PIECE, LARGEST, PIECE, PIECE)}
"""Bytes of each that files with that ending hold; others hold none."""


@dataclass(frozen=True)
class Embedded:
    """exif: a TIFF stream that begins with its byte order; icc: a profile; xmp: a packet; iptc: a record. Empty if there is none.

    colours: those chunks of PNG, by type.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    colours: tuple[tuple[bytes, bytes], ...] = ()

    def suited(self, gray: bool) -> Embedded:
        """Without a profile for other colours than RGB, or gray: of a CMYK file, say. Exif without its thumbnail, in which it rains."""
        space = self.icc[16:20]
        return replace(self, exif=_without_thumbnail(self.exif), icc=self.icc if space == (b"GRAY" if gray else b"RGB ") else b"")

    def lost(self, ending: str) -> list[str]:
        """What of it files with that ending do not take, in words."""
        parts = (self.exif, self.icc, self.xmp, self.iptc)
        found = [name for name, part, most in zip(NAMES, parts, MOST.get(ending, (0, 0, 0, 0)), strict=True) if len(part) > most]
        return found if ending == ".png" else found + self._unusual()

    def unfilmed(self) -> list[str]:
        """What of its colours a film of such pictures does not tell, in words."""
        hdr = not dict(self.colours).keys().isdisjoint((b"mDCV", b"cLLI"))
        return ["the colour profile"] * bool(self.icc) + ["HDR metadata"] * hdr

    def _unusual(self) -> list[str]:
        """In what its colours differ from those of sRGB. The first of PNG's chunks counts that is there, and a profile before the rest."""
        colours = dict(self.colours)
        if b"cICP" in colours:
            return _spoken(*colours[b"cICP"][:2])
        if self.icc or b"sRGB" in colours:
            return []
        differ = any(not _like(content, USUAL[name]) for name, content in self.colours if name in USUAL)
        return ["gamma and primaries other than those of sRGB"] if differ else []


def turned(matrix: tuple[int, ...]) -> bytes:
    """Exif that tells the orientation of a display matrix, 9 numbers; nothing for one that does more than turn and mirror."""
    signs = tuple((matrix[place] > 0) - (matrix[place] < 0) for place in (0, 1, 3, 4))
    return _oriented(TURNS.index(signs) + 1) if signs in TURNS else b""


def colours_of(primaries: int, transfer: int) -> tuple[tuple[bytes, bytes], ...]:
    """PNG's chunk that tells these primaries and transfer, FFmpeg's numbers, of RGB in full range; none for what looks like sRGB."""
    if not _spoken(primaries, transfer):
        return ()
    told = (1 if each in (0, 2) else each for each in (primaries, transfer))  # BT.709, as players take it
    return ((b"cICP", bytes((*told, 0, 1))),)


def _spoken(primaries: int, transfer: int) -> list[str]:
    """What of them does not look like sRGB, in words."""
    words = ((primaries, PRIMARIES, "primaries"), (transfer, TRANSFERS, "transfer"))
    return [f"{named.get(each, each)} {what}" for (each, named, what), usual in zip(words, SDR, strict=True) if each not in usual]


def _like(content: bytes, usual: tuple[int, ...]) -> bool:
    return all(abs(each - other) < CLOSE for each, other in zip(struct.unpack(f">{len(usual)}I", content), usual, strict=True))


def matrix_of(exif: bytes) -> tuple[int, ...] | None:
    """The display matrix of Exif's orientation, if the picture is to be turned or mirrored for display."""
    try:
        _, number = _entries(exif).get(ORIENTATION, (1, 1))
    except struct.error:
        return None
    if not 1 < number <= len(TURNS):
        return None
    a, b, c, d = (sign << 16 for sign in TURNS[number - 1])
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def _oriented(number: int) -> bytes:
    """Exif of an orientation alone."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, SHORT, 1, number, 0, 0)


def read(path: Path) -> Embedded:
    """What a file has embedded; nothing if it is of no kind that is known here, or damaged."""
    readers = ((JPEG, _of_jpeg), (PNG, _of_png), (b"II*\0", _of_tiff), (b"MM\0*", _of_tiff), (b"RIFF", _of_webp))
    with path.open("rb") as file:
        head = file.read(len(PNG))
        reader = next((each for start, each in readers if head.startswith(start)), None)
        try:
            return reader(head + file.read()) if reader else Embedded()
        except (struct.error, zlib.error, IndexError):
            return Embedded()


def jpeg_in_tiff(path: Path) -> bool:
    """Whether a TIFF file is compressed as JPEG."""
    try:
        return _entries(path.read_bytes()).get(COMPRESSION, (0, 0))[1] in JPEG_IN_TIFF
    except struct.error:
        return False


def put(data: bytes, embedded: Embedded) -> bytes:
    """A JPEG or PNG file that has none, with what it takes; others as they are."""
    jpeg, png = data.startswith(JPEG), data.startswith(PNG)
    at = SOI if jpeg else HEADER
    parts = _segments_of(embedded) if jpeg else _chunks_of(embedded) if png else ()
    beside = b"".join(parts)
    return data[:at] + beside + data[at:] if beside else data


def _of_jpeg(data: bytes) -> Embedded:
    found, pieces = Embedded(), {}
    for marker, content in _segments(data):
        if marker == APP1 and content.startswith(EXIF):
            found = replace(found, exif=found.exif or content[len(EXIF) :])
        elif marker == APP1 and content.startswith(XMP):
            found = replace(found, xmp=content[len(XMP) :])
        elif marker == APP2 and content.startswith(ICC):
            pieces[content[len(ICC)]] = content[len(ICC) + 2 :]
        elif marker == APP13 and content.startswith(PHOTOSHOP):
            found = replace(found, iptc=_iptc(content[len(PHOTOSHOP) :]))
    return replace(found, icc=b"".join(pieces[number] for number in sorted(pieces)))


def _iptc(data: bytes) -> bytes:
    """That record of Photoshop's resources, of which another is a thumbnail."""
    at = 0
    while data[at : at + 4] == RESOURCE:
        (number,) = struct.unpack_from(">H", data, at + 4)
        start = at + 6 + (data[at + 6] + 2) // 2 * 2  # after a name, whose bytes are counted by the first
        (size,) = struct.unpack_from(">I", data, start)
        if number == IPTC:
            return data[start + 4 : start + 4 + size]
        at = start + 4 + (size + 1) // 2 * 2
    return b""


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and contents before the picture itself."""
    at = SOI
    while data[at] == 0xFF and data[at + 1] != SCAN:
        if data[at + 1] == 0xFF:  # fills up
            at += 1
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        yield data[at + 1], data[at + 4 : at + 2 + size]
        at += 2 + size


def _of_png(data: bytes) -> Embedded:
    found, colours = Embedded(), {}
    for name, content in _chunks(data):
        key, _, rest = content.partition(b"\0")
        if name == b"eXIf":
            found = replace(found, exif=content)
        elif name == b"iCCP":
            found = replace(found, icc=_unpacked(rest[1:]))
        elif name == b"iTXt" and key == XML:
            text = rest[2:].split(b"\0", 2)[2]  # after a language and the keyword in it
            found = replace(found, xmp=_unpacked(text) if rest[0] else text)
        elif len(content) == COLOURS.get(name):
            colours[name] = content
    return replace(found, colours=tuple(colours.items()))


def _of_tiff(data: bytes) -> Embedded:
    entries = _entries(data)
    size, place = entries.get(PROFILE, (0, 0))
    _, orientation = entries.get(ORIENTATION, (1, 1))
    return Embedded(_oriented(orientation) if 1 < orientation <= len(TURNS) else b"", data[place : place + size])


def _entries(data: bytes) -> dict[int, tuple[int, int]]:
    """The first directory of a TIFF stream: tag -> number of values, and the first one, or where they lie."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    found = {}
    for tag, kind, size, field in struct.iter_unpack(f"{order}HHI4s", data[at + 2 : at + 2 + 12 * count]):
        found[tag] = size, struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", field)[0]
    return found


def _of_webp(data: bytes) -> Embedded:
    found, at = {}, len(b"RIFF....WEBP")
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        found[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return Embedded(found.get(b"EXIF", b"").removeprefix(EXIF), found.get(b"ICCP", b""), found.get(b"XMP ", b""))


def _unpacked(packed: bytes) -> bytes:
    """Nothing if it is cut off, or too large."""
    unpacking = zlib.decompressobj()
    whole = unpacking.decompress(packed, LARGEST)
    return whole if unpacking.eof else b""


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents."""
    at = len(PNG)
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 12 + size


def _segments_of(embedded: Embedded) -> Iterator[bytes]:
    size = len(embedded.iptc)
    iptc = PHOTOSHOP + RESOURCE + struct.pack(">HHI", IPTC, 0, size)
    for marker, head, content in ((APP1, EXIF, embedded.exif), (APP1, XMP, embedded.xmp), (APP13, iptc, embedded.iptc + bytes(size % 2))):
        if 0 < len(content) <= PIECE:
            yield _segment(marker, head + content)
    pieces = [embedded.icc[at : at + PIECE] for at in range(0, len(embedded.icc), PIECE)]
    for number, piece in enumerate(pieces, 1):
        yield _segment(APP2, ICC + bytes((number, len(pieces))) + piece)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _chunks_of(embedded: Embedded) -> Iterator[bytes]:
    yield from (_chunk(name, content) for name, content in embedded.colours)
    if embedded.icc:
        yield _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(embedded.icc))
    if embedded.exif:
        yield _chunk(b"eXIf", embedded.exif)
    if embedded.xmp:
        yield _chunk(b"iTXt", XML + bytes(5) + embedded.xmp)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _without_thumbnail(exif: bytes) -> bytes:
    """Exif whose first directory, of the picture, is its last."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order:
            (at,) = struct.unpack_from(f"{order}I", exif, 4)
            (count,) = struct.unpack_from(f"{order}H", exif, at)
            end = at + 2 + 12 * count
            return exif[:end] + bytes(4) + exif[end + 4 :] if end + 4 <= len(exif) else exif
    except struct.error:
        pass
    return exif
