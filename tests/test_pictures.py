"""One picture, numbered ones, a folder: in and out."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import DerainError, OpenError, WriteError
from derain_video.pipeline.part import left
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.video import Span


def paint(path: Path, shift: int = 0, size: tuple[int, int] = (64, 96), deep: bool = False, gray: bool = False) -> Path:
    x, y = np.meshgrid(np.arange(size[1]) + shift, np.arange(size[0]))
    image = np.stack([120 + 50 * np.sin(x / 9), 120 + 50 * np.cos(y / 7), 100 + x * 0.5], -1)
    image = (image * 257).astype(np.uint16) if deep else image.astype(np.uint8)
    cv2.imwrite(str(path), image[..., 0] if gray else image)
    return path


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)


@pytest.mark.parametrize("deep", [False, True], ids=["8 bit", "16 bit"])
@pytest.mark.parametrize("gray", [False, True], ids=["colour", "gray"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_one_picture(tmp_path, runtime, ending, deep, gray):
    source = paint(tmp_path / f"in.{ending}", deep=deep, gray=gray)
    report = run(Job(source, tmp_path / f"out.{ending}"), runtime)
    before, after = read(source), read(tmp_path / f"out.{ending}")
    assert after.dtype == before.dtype and after.shape == before.shape
    assert np.array_equal(before[:, 48:], after[:, 48:])
    assert (before[:, :48] - after[:, :48]).mean() == pytest.approx(8, abs=3)
    assert report.frames == 1 and not report.notes


@pytest.mark.parametrize("source, target", [("in.png", "."), ("p%d.png", "p%02d.png")])
def test_no_picture_of_the_input_is_replaced(tmp_path, runtime, source, target):
    for name in ("in.png", "p9.png", "p10.png"):
        paint(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WriteError, match=r"(in|p10).png: is an input; give the output another folder or name"):
        run(Job(tmp_path / source, tmp_path / target), runtime)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_jpeg_stays_close(tmp_path, fake):
    source = paint(tmp_path / "in.jpg")
    run(Job(source, tmp_path / "out.jpg"), fake(["clear"]))
    assert np.abs(read(source) - read(tmp_path / "out.jpg")).max() <= 6


def test_png_from_jpeg_has_its_colours(tmp_path, fake):
    source = paint(tmp_path / "in.jpg")
    run(Job(source, tmp_path / "out.png"), fake(["clear"]))
    assert np.abs(read(source) - read(tmp_path / "out.png")).mean() < 2  # decoders enlarge chroma each in their way


def test_a_numbered_sequence_is_a_film(tmp_path, runtime):
    for i in range(7, 13):
        paint(tmp_path / f"in_{i:04d}.png", 2 * i)
    run(Job(tmp_path / "in_%04d.png", tmp_path / "out_%04d.png"), runtime)
    assert sorted(p.name for p in tmp_path.glob("out*")) == [f"out_{i:04d}.png" for i in range(7, 13)]
    assert max(np.ptp(state[0].astype(int), axis=0).max() for state in runtime.states) > 0  # neighbours were used


def test_a_film_as_pictures_and_back(tmp_path, fake, clip, look):
    source = clip(width=96, height=64)
    run(Job(source, tmp_path / "out_%03d.png"), fake(["clear"]))
    assert len(list(tmp_path.glob("out_*.png"))) == 20
    run(Job(tmp_path / "out_%03d.png", tmp_path / "again.mp4"), fake(["clear"]))
    seen = look(tmp_path / "again.mp4")
    assert len(seen.pictures) == 20 and seen.pictures[0].format.name == "yuv420p"
    difference = [
        np.abs(a.to_ndarray(format="rgb24").astype(int) - b.to_ndarray(format="rgb24")).mean()
        for a, b in zip(look(source).pictures, seen.pictures, strict=True)
    ]
    assert max(difference) < 4


def test_a_folder_of_single_pictures(tmp_path, runtime):
    folder = tmp_path / "in"
    folder.mkdir()
    paint(folder / "a.png")
    paint(folder / "b.jpg", size=(50, 70))
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._a.png").write_text("what macOS leaves beside a picture")
    (folder / "c.png").mkdir()
    report = run(Job(folder, tmp_path / "out"), runtime)
    assert f"{folder}: left out, since no pictures of a kind that is read: notes.txt" in report.notes
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]
    assert read(tmp_path / "out" / "b.jpg").shape == (50, 70, 3)
    assert all((state == state[:, :1]).all() for state in runtime.states)  # each is alone
    assert runtime.looks == 2


def test_pictures_of_a_folder_that_follow_each_other_are_a_film(tmp_path, runtime):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(8, 13):
        paint(folder / f"{i}.png", 2 * i)
    for i, level in ((13, 250), (14, 250)):  # two alike are no film
        other = np.zeros((64, 96, 3), np.uint8)
        other[:, 40 + i :] = level
        cv2.imwrite(str(folder / f"{i}.png"), other)
    report = run(Job(folder, tmp_path / "out"), runtime)
    assert [p.name for p in sorted((tmp_path / "out").iterdir(), key=lambda p: int(p.stem))] == [f"{i}.png" for i in range(8, 15)]
    assert [name for name, *_ in runtime.calls] == ["heavy"] * 5 + ["still"] * 2
    assert runtime.looks == 3 and report.notes == [f"{folder}: 4 of 7 pictures follow the one before as in a film: derained as its frames"]


def test_a_folder_becomes_a_film(tmp_path, runtime, look):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(8, 13):
        paint(folder / f"{i}.png", 2 * i, size=(64, 96) if i < 12 else (48, 80))
    report = run(Job(folder, tmp_path / "out.mp4", rate=Fraction(10)), runtime)
    seen = look(tmp_path / "out.mp4")
    assert seen.times == [Fraction(i, 10) for i in range(5)] and {(p.width, p.height) for p in seen.pictures} == {(96, 64)}
    assert f"{folder / '12.png'}: 80x48 is scaled to the first picture's 96x64" in report.notes


def test_the_current_folder_as_output(clip, fake, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(Job(clip(width=96, height=64), Path(".")), fake(["clear"]))
    assert len(list((tmp_path / "here").glob("frame_*.png"))) == 20
    assert left(Path(".")) == []
    with pytest.raises(WriteError, match="no place for an output"):
        run(Job(clip(width=96, height=64), Path("/")), fake(["clear"]))


def test_a_folder_beside_the_output_is_left_alone(tmp_path, runtime):
    paint(tmp_path / "in.png")
    (tmp_path / "out.png.part").mkdir()
    (tmp_path / "out.png.part" / "mine.txt").write_text("precious")
    run(Job(tmp_path / "in.png", tmp_path / "out.png"), runtime)
    assert (tmp_path / "out.png.part" / "mine.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png", "out.png.part"]


def test_percent_signs_in_names(tmp_path, runtime):
    paint(tmp_path / "my%20dog.png")
    run(Job(tmp_path / "my%20dog.png", tmp_path / "one.png"), runtime)
    run(Job(sequence(tmp_path), tmp_path / "100%_%03d.png"), runtime)
    assert {path.name for path in tmp_path.glob("100*")} == {f"100%_{i:03d}.png" for i in range(3)}


def test_pictures_begin_at_the_one_shown_then(tmp_path, runtime):
    """The thirtieth at 1.16 s, though as a float that is a little less than 29/25."""
    for i in range(31):
        paint(tmp_path / f"in_{i}.png", size=(32, 32))
    run(Job(tmp_path / "in_%d.png", tmp_path / "out_%d.png", Span(1.16)), runtime)
    assert {path.name for path in tmp_path.glob("out*")} == {"out_29.png", "out_30.png"}


COLOURS = ((20, 60, 220), (40, 200, 60))


def flags(path: Path, height: int) -> Path:
    """Red on the left and green on the right."""
    image = np.zeros((height, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = COLOURS
    cv2.imwrite(str(path), image)
    return path


def shown(picture: av.VideoFrame, matrix: int) -> np.ndarray:
    """The two colours of `flags`, by that matrix of FFmpeg's."""
    pixels = picture.reformat(format="bgr24", src_colorspace=matrix).to_ndarray().astype(int)
    return np.stack([pixels[24, 20], pixels[24, 76]])


@pytest.mark.parametrize("ending", ["jpg", "webp"])
@pytest.mark.parametrize("height", [48, 720])
def test_jpeg_and_webp_hold_the_colours_of_what_they_come_from(tmp_path, fake, look, ending, height):
    """Their matrix is that of BT.601, whatever that of the source."""
    run(Job(flags(tmp_path / "in.png", height), tmp_path / f"out.{ending}"), fake(["clear"]))
    run(Job(tmp_path / "in.png", tmp_path / "film.mp4", settings=Settings(crf=1)), fake(["clear"]))
    run(Job(tmp_path / "film.mp4", tmp_path / f"out_%d.{ending}"), fake(["clear"]))
    for name in (f"out.{ending}", f"out_1.{ending}"):
        assert np.abs(shown(look(tmp_path / name).pictures[0], matrix=5) - COLOURS).max() < 6


@pytest.mark.parametrize("height", [48, 720])
def test_pictures_become_a_film_in_the_colours_that_it_tells(tmp_path, fake, look, height):
    run(Job(flags(tmp_path / "in.png", height), tmp_path / "out.mp4", settings=Settings(crf=1)), fake(["clear"]))
    picture = look(tmp_path / "out.mp4").pictures[0]
    assert int(picture.colorspace) == 1 and np.abs(shown(picture, matrix=1) - COLOURS).max() < 6


@pytest.mark.parametrize("source", ["png", "jpg", "tif"])
@pytest.mark.parametrize("target", ["mp4", "webm"])
def test_gray_pictures_become_a_film_of_their_contrast(tmp_path, fake, look, source, target):
    cv2.imwrite(str(tmp_path / f"in.{source}"), np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1)))
    run(Job(tmp_path / f"in.{source}", tmp_path / f"out.{target}", mask=tmp_path / f"mask.{target}"), fake(["clear"]))
    row = look(tmp_path / f"out.{target}").pictures[0].reformat(format="bgr24").to_ndarray()[32].astype(int)
    assert np.ptp(row, axis=1).max() < 3 and np.abs(row[:, 0] - np.linspace(0, 255, 96)).max() < 5


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_pictures_of_a_turned_film_are_turned(clip, fake, tmp_path, turn, ending):
    run(Job(clip(rotation=turn), tmp_path / f"out_%d.{ending}"), fake(["clear"]))
    with av.open(str(tmp_path / "in.mp4")) as film, av.open(str(tmp_path / f"out_1.{ending}")) as one:
        assert next(one.decode(video=0)).rotation == next(film.decode(video=0)).rotation != 0


@pytest.mark.parametrize("mode, ending", [("P", "png"), *((mode, ending) for mode in ("RGBA", "LA") for ending in ("png", "webp", "tif"))])
@pytest.mark.parametrize("clear", [True, False])
def test_transparency_is_said_where_there_is_some(fake, tmp_path, mode, ending, clear):
    image, options = Image.new("RGB", (64, 48), "red").convert(mode), {"lossless": True} if ending == "webp" else {}
    if clear and mode == "P":
        options = {"transparency": image.getpixel((3, 3))}
    elif clear:
        image.putpixel((3, 3), (*image.getpixel((3, 3))[:-1], 254))
    image.save(tmp_path / f"in.{ending}", **options)
    report = run(Job(tmp_path / f"in.{ending}", tmp_path / "out.png"), fake(["clear"]))
    assert report.notes == [f"{tmp_path / 'in'}.{ending}: not kept: transparency"] * clear


def test_a_mask_has_no_colours_and_no_light(clip, fake, tmp_path):
    film = clip("in.mkv", codec="ffv1", pixels="yuv420p10le", tags=(1, 1, 9, 8), times=[0, 512])
    run(Job(film, tmp_path / "out.mkv", mask=tmp_path / "mask_%d.png"), fake(["clear"]))
    assert read(tmp_path / "mask_1.png").shape == (64, 96, 3)


def test_what_pictures_cannot_tell_of_a_film_is_said(clip, fake, tmp_path):
    report = run(Job(clip(aspect=Fraction(4, 3), rotation=90), tmp_path / "out_%d.bmp"), fake(["clear"]))
    assert any("not kept: the shape of the pixels, 4/3" in note for note in report.notes)
    assert any("not kept: Exif, with the camera's orientation" in note for note in report.notes)


def absent(tmp_path: Path) -> Path:
    return tmp_path / "absent.png"


def damaged(tmp_path: Path) -> Path:
    path = paint(tmp_path / "in.png")
    path.write_bytes(path.read_bytes()[:20])
    return path


def cut_off(tmp_path: Path) -> Path:
    path = paint(tmp_path / "in.jpg")
    path.write_bytes(path.read_bytes()[:-600])
    return path


def jpeg_in_tiff(tmp_path: Path) -> Path:
    """FFmpeg opens it, and gives a black picture."""
    Image.new("RGB", (96, 64), "white").save(tmp_path / "in.tif", compression="jpeg")
    return tmp_path / "in.tif"


def exr(tmp_path: Path) -> Path:
    with av.open(str(tmp_path / "in.exr"), "w", format="image2") as out:
        stream = out.add_stream("exr", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gbrpf32le"
        out.mux([*stream.encode(av.VideoFrame(96, 64, "gbrpf32le")), *stream.encode(None)])
    return tmp_path / "in.exr"


def empty(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def sequence(tmp_path: Path) -> Path:
    for i in range(3):
        paint(tmp_path / f"in_{i}.png")
    return tmp_path / "in_%d.png"


@pytest.mark.parametrize(
    "make, target, kind, message",
    [
        (absent, "out.png", OpenError, "no such file"),
        (damaged, "out.png", OpenError, "damaged"),
        (cut_off, "out.jpg", OpenError, "damaged"),
        (jpeg_in_tiff, "out.tif", OpenError, "compressed as JPEG, which is not read; save it with LZW"),
        (exr, "out.png", WriteError, "linear light, as EXR is, .*; save it as 16-bit PNG for display"),
        (empty, "out", OpenError, "no picture there"),
        (sequence, "out.png", WriteError, "img_%04d.png"),
    ],
)
def test_bad_pictures_are_one_line_and_leave_nothing(tmp_path, runtime, make, target, kind, message):
    source = make(tmp_path)
    with pytest.raises(kind, match=message) as fault:
        run(Job(source, tmp_path / target), runtime)
    assert isinstance(fault.value, DerainError) and "\n" not in str(fault.value)
    assert not (tmp_path / target).exists() and not list(tmp_path.glob("*.part*"))


def test_a_late_fault_leaves_no_picture(tmp_path, fake):
    source = sequence(tmp_path)
    with pytest.raises(RuntimeError):
        run(Job(source, tmp_path / "out_%d.png"), fake(broken=2))
    assert not list(tmp_path.glob("out*"))
    shutil.rmtree(tmp_path)
