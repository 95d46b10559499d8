"""What lies in a picture file beside the picture: Exif, with the orientation in it, and the colour profile; read from and put into JPEG and PNG.

Sources: ITU-T T.81 annex B (JPEG's segments), CIPA DC-008 (Exif), ICC.1 annex B (profiles in files), PNG third edition (chunks).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
SOI, HEADER = len(JPEG), len(PNG) + 25
"""Bytes after which they are put: JPEG's first marker; PNG's signature and IHDR."""

ENDINGS = (".jpg", ".jpeg", ".png")
"""Of files that hold them."""

EXIF, ICC = b"Exif\0\0", b"ICC_PROFILE\0"
APP1, APP2, SCAN = 0xE1, 0xE2, 0xDA

PIECE = 65_519
"""Most bytes of a profile, or of Exif, in one JPEG segment."""

LARGEST = 255 * PIECE
"""Most bytes of a profile: as many as go into JPEG's segments."""


@dataclass(frozen=True)
class Embedded:
    """exif: a TIFF stream that begins with its byte order; icc: a profile. Empty if there is none."""

    exif: bytes = b""
    icc: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.exif or self.icc)

    def suited(self, gray: bool) -> Embedded:
        """Without a profile for other colours than RGB, or gray: of a CMYK file, say. Exif without its thumbnail, in which it rains."""
        space = self.icc[16:20]
        return Embedded(_without_thumbnail(self.exif), self.icc if space == (b"GRAY" if gray else b"RGB ") else b"")


def read(path: Path) -> Embedded:
    """What a file has embedded; nothing if it is neither JPEG nor PNG, or damaged."""
    with path.open("rb") as file:
        head = file.read(len(PNG))
        reader = _of_jpeg if head.startswith(JPEG) else _of_png if head == PNG else None
        try:
            return reader(head + file.read()) if reader else Embedded()
        except (struct.error, zlib.error, IndexError):
            return Embedded()


def put(data: bytes, embedded: Embedded) -> bytes:
    """A JPEG or PNG file that has none, with it."""
    at = SOI if data.startswith(JPEG) else HEADER
    parts = _segments_of(embedded) if data.startswith(JPEG) else _chunks_of(embedded)
    return data[:at] + b"".join(parts) + data[at:]


def _of_jpeg(data: bytes) -> Embedded:
    exif, pieces = b"", {}
    for marker, content in _segments(data):
        if marker == APP1 and content.startswith(EXIF):
            exif = exif or content[len(EXIF) :]
        elif marker == APP2 and content.startswith(ICC):
            pieces[content[len(ICC)]] = content[len(ICC) + 2 :]
    return Embedded(exif, b"".join(pieces[number] for number in sorted(pieces)))


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
    found = dict(_chunks(data))
    _, _, packed = found.get(b"iCCP", b"").partition(b"\0")
    unpacking = zlib.decompressobj()
    icc = unpacking.decompress(packed[1:], LARGEST) if packed else b""
    return Embedded(found.get(b"eXIf", b""), icc if unpacking.eof else b"")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents."""
    at = len(PNG)
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 12 + size


def _segments_of(embedded: Embedded) -> Iterator[bytes]:
    if 0 < len(embedded.exif) <= PIECE:  # PNG holds more
        yield _segment(APP1, EXIF + embedded.exif)
    pieces = [embedded.icc[at : at + PIECE] for at in range(0, len(embedded.icc), PIECE)]
    for number, piece in enumerate(pieces, 1):
        yield _segment(APP2, ICC + bytes((number, len(pieces))) + piece)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _chunks_of(embedded: Embedded) -> Iterator[bytes]:
    if embedded.icc:
        yield _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(embedded.icc))
    if embedded.exif:
        yield _chunk(b"eXIf", embedded.exif)


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
