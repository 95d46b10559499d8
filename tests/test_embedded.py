"""Exif, the camera's orientation, the colour profile and colours of JPEG and PNG files."""

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin

from derain_video.pipeline.embedded import LARGEST, PIECE, USUAL, Embedded, jpeg_in_tiff, put, read
from derain_video.pipeline.report import Report
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.sidedata import display_matrix, side_data

SIDEWAYS = 6
ORIENTATION, MODEL = 0x0112, 0x0110


@cache
def profile() -> bytes:  # with the time of its making in it
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(path: Path, mode: str = "RGB", icc: bytes = b"") -> Path:
    """64 x 48, sideways, by a camera called Drop."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MODEL] = SIDEWAYS, "Drop"
    colours = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(colours).convert(mode).save(path, exif=exif, icc_profile=icc or profile())
    return path


@pytest.mark.parametrize("source", ["in.jpg", "in.png"])
@pytest.mark.parametrize("target", ["out.jpg", "out.png", "out_%03d.png"])
@pytest.mark.parametrize("pattern", ["heavy", "clear"])
def test_orientation_exif_and_profile_are_kept(tmp_path: Path, fake, source: str, target: str, pattern: str) -> None:
    report = Report()
    run(Job(photo(tmp_path / source), tmp_path / target), fake([pattern]), report)
    data = (tmp_path / target.replace("%03d", "001")).read_bytes()
    assert data.count(b"ICC_PROFILE") + data.count(b"iCCP") == 1 and data.count(b"Exif\0\0") + data.count(b"eXIf") == 1
    with Image.open(tmp_path / target.replace("%03d", "001")) as clean:
        clean.load()
        assert clean.size == (64, 48) and dict(clean.getexif()) == {ORIENTATION: SIDEWAYS, MODEL: "Drop"}
        assert clean.info["icc_profile"] == profile()
    assert not any("not kept" in note for note in report.notes)


@pytest.mark.parametrize("ending", ["tif", "webp"])
def test_the_profile_of_other_files_is_kept_or_said(tmp_path: Path, runtime, ending: str) -> None:
    source = tmp_path / f"in.{ending}"
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8))
    colours.save(source, icc_profile=profile(), **({"lossless": True} if ending == "webp" else {}))
    run(Job(source, tmp_path / "out.png"), runtime)
    with Image.open(tmp_path / "out.png") as clean:
        assert clean.info["icc_profile"] == profile()
    report = run(Job(source, tmp_path / "out.bmp"), runtime)
    assert any("not kept: the colour profile" in note for note in report.notes)


def test_the_profile_of_a_tiff_of_the_other_order(tmp_path: Path) -> None:
    (tmp_path / "in.tif").write_bytes(b"MM\0*" + struct.pack(">IHHHIII4s", 8, 1, 34675, 7, 4, 26, 0, b"icc!"))
    assert read(tmp_path / "in.tif") == Embedded(icc=b"icc!")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("number, found", [(1, False), (5, False), (6, True), (7, True)])
def test_jpeg_in_a_tiff_of_either_order(tmp_path: Path, order: str, number: int, found: bool) -> None:
    start = b"II*\0" if order == "<" else b"MM\0*"
    (tmp_path / "in.tif").write_bytes(start + struct.pack(f"{order}IHHHIHHI", 8, 1, 259, 3, 1, number, 0, 0))
    assert jpeg_in_tiff(tmp_path / "in.tif") == found


def test_what_other_files_cannot_hold_is_said(tmp_path: Path, runtime) -> None:
    report = Report()
    run(Job(photo(tmp_path / "in.jpg"), tmp_path / "out.bmp"), runtime, report)
    assert any("not kept: Exif, with the camera's orientation; the colour profile: it takes" in note for note in report.notes)


@pytest.mark.parametrize("source", ["jpg", "png"])
@pytest.mark.parametrize("target", ["jpg", "png"])
def test_xmp_and_iptc_are_kept_where_the_file_holds_them(tmp_path: Path, runtime, source: str, target: str) -> None:
    draft, path, report = photo(tmp_path / f"draft.{source}"), tmp_path / f"in.{source}", Report()
    path.write_bytes(put(draft.read_bytes(), Embedded(xmp=b"<x:xmpmeta/>", iptc=b"\x1c\x02\x05\0\x04Rain")))
    run(Job(path, tmp_path / f"out.{target}"), runtime, report)
    found = read(tmp_path / f"out.{target}")
    held = source == "jpg" and target == "jpg"
    assert found.xmp == b"<x:xmpmeta/>" and found.iptc == (b"\x1c\x02\x05\0\x04Rain" if held else b"")
    assert any("not kept: IPTC" in note for note in report.notes) == (source == "jpg" and target == "png")
    with Image.open(tmp_path / f"out.{target}") as clean:  # another reader agrees
        clean.load()
        assert b"<x:xmpmeta/>" in (clean.info.get("xmp") or clean.info.get("XML:com.adobe.xmp").encode())
        assert dict(clean.getexif()) == {ORIENTATION: SIDEWAYS, MODEL: "Drop"}
        assert not held or IptcImagePlugin.getiptcinfo(clean) == {(2, 5): b"Rain"}


def test_of_photoshops_resources_iptc_alone_is_kept_and_packed_xmp_is_read(tmp_path: Path) -> None:
    for ending in ("jpg", "png"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"plain.{ending}")
    thumbnail = b"8BIM" + struct.pack(">H", 0x040C) + b"\x03odd" + struct.pack(">I", 5) + b"rainy\0"
    content = b"Photoshop 3.0\0" + thumbnail + b"8BIM" + struct.pack(">HHI", 0x0404, 0, 4) + b"\x1c\x02\x05\0"
    jpeg = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "in.jpg").write_bytes(jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(content) + 2) + content + jpeg[2:])
    assert read(tmp_path / "in.jpg") == Embedded(iptc=b"\x1c\x02\x05\0")
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>", zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=text)
    assert read(tmp_path / "in.png") == Embedded(xmp=b"<x:xmpmeta/>")


@pytest.mark.parametrize("ending", ["jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_numbered_pictures_become_a_video_that_is_turned_and_mirrored(tmp_path: Path, fake, look, ending: str, orientation: int) -> None:
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32], upright[:24, 32:], upright[24:, :32] = 80, 160, 240  # no two corners alike
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(upright).save(tmp_path / f"in_1.{ending}", exif=exif)
    report = run(Job(tmp_path / f"in_%d.{ending}", tmp_path / "out.mp4"), fake(["clear"]))
    picture = look(tmp_path / "out.mp4").pictures[0]
    shown = displayed(picture.to_ndarray(format="gray"), display_matrix(side_data(picture)))
    with Image.open(tmp_path / f"in_1.{ending}") as source:
        wanted = np.asarray(ImageOps.exif_transpose(source).convert("L"))
    assert shown.shape == wanted.shape and np.abs(shown - wanted.astype(int)).mean() < 15
    assert not any("not kept" in note for note in report.notes)


def displayed(pixels: np.ndarray, matrix: tuple[int, ...] | None) -> np.ndarray:
    """As a player shows it: x' = ax + cy, y' = bx + dy (ISO/IEC 14496-12)."""
    a, b, c, d = (np.sign(matrix[place]) for place in (0, 1, 3, 4)) if matrix else (1, 0, 0, 1)
    y, x = np.indices(pixels.shape)
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    shown = np.zeros((down.max() + 1, across.max() + 1), int)
    shown[down, across] = pixels
    return shown


@pytest.mark.parametrize("source", ["in_%d.jpg", "in_%d.png", "."])
def test_that_a_film_takes_no_profile_is_said_once(tmp_path: Path, fake, source: str) -> None:
    for number in (1, 2):
        photo(tmp_path / (source if "%d" in source else "in_%d.png").replace("%d", str(number)))
    report = run(Job(tmp_path / source, tmp_path / "out.mp4"), fake(["clear"]))
    assert sum("not kept in a film: the colour profile" in note for note in report.notes) == 1
    report = run(Job(tmp_path / source, tmp_path / ("out_%d.png" if "%d" in source else "out")), fake(["clear"]))
    assert not any("not kept" in note for note in report.notes)


SRGB = ((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45454)), (b"cHRM", struct.pack(">8I", *USUAL[b"cHRM"])))
LINEAR = ((b"gAMA", struct.pack(">I", 100000)),)
WIDE = ((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)))
HDR = ((b"cICP", bytes((9, 16, 0, 1))), (b"mDCV", bytes(24)), (b"cLLI", bytes(8)), *WIDE)


@pytest.mark.parametrize(
    "colours, said",
    [(SRGB, ""), (LINEAR, "gamma and primaries"), (WIDE, "gamma and primaries"), (SRGB + WIDE, ""), (HDR, "BT.2020 primaries; PQ transfer:")],
)
def test_what_png_tells_of_its_colours_is_kept_or_said(tmp_path: Path, fake, colours: tuple[tuple[bytes, bytes], ...], said: str) -> None:
    Image.new("P", (64, 48)).save(tmp_path / "plain.png")
    path = tmp_path / "in.png"
    path.write_bytes(put((tmp_path / "plain.png").read_bytes(), Embedded(colours=colours)))
    report = run(Job(path, tmp_path / "out.png"), fake(["clear"]))
    found = list(chunks(tmp_path / "out.png"))
    assert not report.notes and [each for each in found if each[0] in dict(colours)] == list(dict(colours).items())
    assert all(found.index(each) < [name for name, _ in found].index(b"IDAT") for each in dict(colours).items())
    for ending in ("jpg", "bmp", "tif", "webp"):
        notes = run(Job(path, tmp_path / f"out.{ending}"), fake(["clear"])).notes
        assert any(f"not kept: {said}" in note for note in notes) if said else not notes


def test_that_a_film_takes_no_hdr_metadata_of_pictures_is_said(tmp_path: Path, fake) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "plain.png")
    (tmp_path / "in.png").write_bytes(put((tmp_path / "plain.png").read_bytes(), Embedded(colours=HDR)))
    report = run(Job(tmp_path / "in.png", tmp_path / "out.mkv"), fake(["clear"]))
    assert f"{tmp_path / 'in.png'}: not kept in a film: HDR metadata" in report.notes


def chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents, with their check sums checked."""
    with path.open("rb") as file:
        file.seek(8)
        while head := file.read(8):
            content = file.read(struct.unpack(">I4s", head)[0])
            assert struct.unpack(">I", file.read(4)) == (zlib.crc32(head[4:] + content),)
            yield head[4:], content


@pytest.mark.parametrize(
    "primaries, transfer, told, said",
    [
        (9, 16, (9, 16), "BT.2020 primaries; PQ transfer:"),
        (9, 18, (9, 18), "BT.2020 primaries; HLG transfer:"),
        (12, 13, (12, 13), "Display P3 primaries:"),
        (2, 16, (1, 16), "PQ transfer:"),
        (9, 2, (9, 1), "BT.2020 primaries:"),
        (1, 1, None, ""),
        (6, 6, None, ""),
        (2, 2, None, ""),
    ],
)
def test_pictures_of_a_film_tell_its_colours(clip, tmp_path: Path, fake, primaries, transfer, told, said) -> None:
    film = clip("in.mkv", codec="ffv1", pixels="yuv420p10le", tags=(1, 9 if primaries == 9 else 1, primaries, transfer), times=[0, 512])
    report = run(Job(film, tmp_path / "out_%d.png", mask=tmp_path / "mask_%d.png"), fake(["clear"]))
    assert dict(chunks(tmp_path / "out_1.png")).get(b"cICP") == (bytes((*told, 0, 1)) if told else None)
    assert not report.notes and b"cICP" not in dict(chunks(tmp_path / "mask_1.png"))
    with av.open(str(tmp_path / "out_1.png")) as one:  # another reader agrees
        picture = next(one.decode(video=0))
        assert not told or (int(picture.color_primaries), int(picture.color_trc)) == told
    notes = run(Job(film, tmp_path / "out_%d.tif"), fake(["clear"])).notes
    assert any(f"not kept: {said}" in note for note in notes) if said else not notes


def test_each_picture_of_a_folder_is_turned_for_itself(tmp_path: Path, runtime) -> None:
    (tmp_path / "in").mkdir()
    photo(tmp_path / "in" / "1.jpg")
    Image.new("RGB", (64, 48)).save(tmp_path / "in" / "2.jpg")
    run(Job(tmp_path / "in", tmp_path / "out"), runtime)
    with Image.open(tmp_path / "out" / "1.jpg") as first, Image.open(tmp_path / "out" / "2.jpg") as second:
        assert first.getexif()[ORIENTATION] == SIDEWAYS and not second.getexif()


def test_a_film_of_png_pictures_with_a_profile(tmp_path: Path, runtime, look) -> None:
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as film:
        stream = film.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for number in range(5):
            packet = av.Packet(photo(tmp_path / "one.png").read_bytes())
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.is_keyframe = stream, Fraction(1, 25), number, number, True
            film.mux(packet)
    run(Job(source, tmp_path / "out.mp4"), runtime)
    pictures = look(tmp_path / "out.mp4").pictures
    assert len(pictures) == 5 and pictures[0].rotation == -90


def test_a_profile_for_other_colours_and_the_thumbnail_in_the_rain_are_left_out(tmp_path: Path) -> None:
    found = read(photo(tmp_path / "in.jpg"))
    assert found.suited(gray=False).icc and not found.suited(gray=True).icc
    directory = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + bytes(12)
    thumbnail = struct.pack("<I", 26) + b"rainy"
    assert Embedded(directory + thumbnail).suited(gray=False).exif == directory + bytes(4) + b"rainy"
    assert Embedded(b"II*\0\xff\0\0\0").suited(gray=False).exif == b"II*\0\xff\0\0\0"


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_profile_of_several_segments(tmp_path: Path, ending: str) -> None:
    plain = tmp_path / f"plain.{ending}"
    Image.new("RGB", (8, 8)).save(plain)
    long = bytes(16) + b"RGB " + bytes(range(256)) * (PIECE // 100)
    (tmp_path / "long").write_bytes(put(plain.read_bytes(), Embedded(icc=long)))
    assert read(tmp_path / "long") == Embedded(icc=long)


def test_what_is_too_large_is_left_out(tmp_path: Path) -> None:
    for ending in ("jpg", "png"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"plain.{ending}")
    long = Embedded(bytes(PIECE + 1), bytes(16) + b"RGB " + bytes(LARGEST))
    (tmp_path / "long.png").write_bytes(put((tmp_path / "plain.png").read_bytes(), long))
    assert read(tmp_path / "long.png") == Embedded(long.exif)
    plain = (tmp_path / "plain.jpg").read_bytes()
    assert put(plain, Embedded(long.exif)) == plain and Embedded(long.exif).lost(".jpg") and not Embedded(long.exif).lost(".png")


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_damaged_file_has_nothing_or_something_but_raises_nothing(tmp_path: Path, ending: str) -> None:
    whole = photo(tmp_path / f"in.{ending}").read_bytes()
    draw, path = np.random.default_rng(0), tmp_path / "damaged"
    for cut in range(0, len(whole), 97):
        damaged = bytearray(whole[:cut])
        for at in draw.integers(0, max(1, cut), min(cut, 4)):
            damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        read(path).suited(gray=False)
