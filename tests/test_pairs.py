"""Tiny folders in the layouts of the public sets: what pairs with what, what is refused, and the field's figures on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color, metrics

from derain_video.benchmarks import cli, methods, pairs, sheet
from derain_video.benchmarks.footage import Clip, FootageError
from derain_video.benchmarks.kinds import named
from derain_video.export.runtime.base import Clean
from derain_video.models.picture import read, write
from derain_video.models.train.footage import load
from derain_video.models.train.pairs import PairError, find
from derain_video.pipeline.arrays import Derainer


def picture(path: Path, level: int = 100, size: tuple[int, int] = (24, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(0, 30, (*size, 3))
    cv2.imwrite(str(path), np.clip(level + noise, 0, 255).astype(np.uint8))


def names(root: Path) -> dict[str, list[tuple[str, ...]]]:
    """Set -> for each pair (rainy, clean) file names below the set."""
    return {s.name: [(p.rainy[0].name, p.clean[0].name) for p in s.pairs] for s in find(root)}


LAYOUTS = {
    "Rain200H": (["rain/X2/norain-1x2.png", "rain/X2/norain-2x2.png"], ["norain/norain-1.png", "norain/norain-2.png"]),
    "Rain200L": (["rain/norain-1x2.png", "rain/norain-10x2.png"], ["norain/norain-1.png", "norain/norain-10.png"]),
    "Rain100L": (["rain/rain-001.png"], ["norain/norain-001.png"]),
    "DDN-Data": (["rainy_image/901_1.jpg", "rainy_image/901_2.jpg"], ["ground_truth/901.jpg"]),
    "SPA-test": (["rain/000.png", "rain/001.png"], ["gt/000gt.png", "gt/001gt.png"]),
    "SPA-train": (["real_world/7/a_1.png", "real_world/8/a_1.png"], ["real_world_gt/7/a_1.png", "real_world_gt/8/a_1.png"]),
    "any": (["input/1.png"], ["target/1.jpg"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_stills(name: str, tmp_path: Path) -> None:
    rainy, clean = LAYOUTS[name]
    for path in (*rainy, *clean):
        picture(tmp_path / name / path)
    (found,) = find(tmp_path)
    assert found.name == name
    wanted = {path: clean[min(i, len(clean) - 1)] for i, path in enumerate(rainy)}
    root = tmp_path / name
    assert {p.rainy[0].relative_to(root).as_posix(): p.clean[0].relative_to(root).as_posix() for p in found.pairs} == wanted


def test_did_data_holds_both_halves(tmp_path: Path) -> None:
    path = tmp_path / "DID-Data" / "Rain_Heavy" / "train2018new" / "1.png"
    picture(path, size=(16, 40))
    (found,) = find(tmp_path)
    rainy, clean = found.pairs[0].pictures(0)
    both = cv2.imread(str(path))[..., ::-1]
    assert np.array_equal(rainy, both[:, :20]) and np.array_equal(clean, both[:, 20:])


def test_nturain_clips_and_its_real_rain(tmp_path: Path) -> None:
    for frame in range(3):
        for folder in ("Testing/a1_Rain", "Testing/a1_GT", "Training/t1_Rain_01", "Training/t1_Rain_02", "Training/t1_GT", "Real/ra1_Rain"):
            picture(tmp_path / folder / f"{frame:05d}.jpg")
    (tmp_path / "Testing" / "a1_Rain.zip").write_bytes(b"")
    found = {s.name: {p.name: (len(p.rainy), p.clean[0].parent.name) for p in s.pairs} for s in find(tmp_path)}
    assert found == {"Testing": {"a1_Rain": (3, "a1_GT")}, "Training": {"t1_Rain_01": (3, "t1_GT"), "t1_Rain_02": (3, "t1_GT")}}


def test_clips_in_sub_folders(tmp_path: Path) -> None:
    for frame in ("1", "2"):
        picture(tmp_path / "VRDS" / "input" / "clip" / f"{frame}.png")
        picture(tmp_path / "VRDS" / "target" / "clip" / f"{frame}.png")
    (found,) = find(tmp_path)
    assert [(p.name, len(p.rainy)) for p in found.pairs] == [("clip", 2)]


def test_a_mixture_has_every_set(tmp_path: Path) -> None:
    for name in ("Rain200H", "DDN-Data"):
        for part in ("train", "test"):
            for path in (*LAYOUTS[name][0], *LAYOUTS[name][1]):
                picture(tmp_path / name / part / path)
    assert list(names(tmp_path)) == ["DDN-Data/test", "DDN-Data/train", "Rain200H/test", "Rain200H/train"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "no paired folders in it; looked for rain/X2 beside norain"),
        (["rain/norain-1x2.png", "norain/norain-2.png"], "1x2.png: no clean picture for it in .*norain; looked for norain-1x2, norain-1"),
        (["input/1.png", "target/1.png", "target/2.png"], "2.png: no rainy picture for it in .*input .1 of 2 are without one"),
        (["a1_Rain/1.png", "b1_GT/1.png"], "a1_Rain: no folder a1_GT beside it"),
        (["a1_Rain/1.png", "a1_Rain/2.png", "a1_GT/1.png"], "a1_Rain: 2 rainy frames and 1 clean ones"),
        (["a1_Rain/1.png", "a1_Rain/2.png", "a1_GT/0.png", "a1_GT/1.png"], "a1_Rain and a1_GT: frame 0 is in one of them alone"),
        (["a1_Rain/note.txt", "a1_GT/note.txt"], "a1_Rain: no picture in it"),
        (["a1_Rain/1.png", "a1_GT/1.png", "a2_GT/1.png"], "a2_GT: no rainy clip for it"),
        (["input/a/1.png", "target/a/1.png", "target/b/1.png"], "target/b: no rainy clip for it in .*input"),
        (["input/a/1.png", "input/b/1.png", "target/a/1.png"], "b/1.png: no clean picture for it in .*target/b"),
    ],
)
def test_mismatches_are_named(files: list[str], said: str, tmp_path: Path) -> None:
    for path in files:
        if path.endswith(".txt"):
            (tmp_path / path).parent.mkdir()
        else:
            picture(tmp_path / path)
    with pytest.raises(PairError, match=said) as caught:
        find(tmp_path)
    assert "\n" not in str(caught.value)


def test_sizes_must_agree(tmp_path: Path) -> None:
    picture(tmp_path / "input" / "1.png")
    picture(tmp_path / "target" / "1.png", size=(24, 30))
    (found,) = find(tmp_path)
    with pytest.raises(PairError, match="32x24 and 30x24 pixels"):
        found.pairs[0].pictures(0)


def test_reading_pairs_needs_no_torch() -> None:
    code = "import sys, derain_video.models.train.pairs; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


class Idle:
    """A runtime that finds heavy rain and changes nothing."""

    name, model, precision, device = "made", "fast", "fp32", "cpu"

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([0, 0, 1, 0], np.float32)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def derain(self, pattern: str, y: NDArray[np.uint8], uv: NDArray[np.uint8], near: NDArray[np.uint8], peak: int, model: str = "") -> Clean:
        self.asked.append(pattern)
        return Clean(y, uv, np.zeros(y.shape, np.uint8))

    def close(self) -> None: ...

    def __enter__(self) -> Idle:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_figures_are_the_fields_and_other_rows_are_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("A", "B"):
        picture(tmp_path / "sets" / name / "input" / "1.png", 90)
        picture(tmp_path / "sets" / name / "target" / "1.png", 110)
        picture(tmp_path / "prenet" / name / "1.png", 110)
    monkeypatch.setattr(cli, "_load", lambda options: Idle())
    given = ["--pairs", str(tmp_path / "sets"), "--results", f"PReNet={tmp_path / 'prenet'}"]
    assert cli.main(["quality", *given, "--json", str(tmp_path / "out.json")]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    a, b = (color.rgb2ycbcr(cv2.imread(str(tmp_path / "sets" / "A" / f / "1.png"))[..., ::-1])[..., 0] for f in ("input", "target"))
    wanted = metrics.peak_signal_noise_ratio(a, b, data_range=255)
    assert float(rows["input"][0]) == pytest.approx(wanted, abs=0.01)
    assert rows["ours"] == rows["input"] and rows["PReNet"][0] == "100.00" and set(rows["Restormer"]) == {"-"}
    assert (tmp_path / "out.json").exists()


@pytest.mark.parametrize(("given", "asked"), [([], "still"), (["--by-pattern"], "heavy")])
def test_stills_go_to_their_own_network_unless_told(given: list[str], asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("input", "target"):
        picture(tmp_path / folder / "1.png")
    idle = Idle()
    monkeypatch.setattr(cli, "_load", lambda options: idle)
    assert cli.main(["quality", "--pairs", str(tmp_path), *given]) == 0
    assert idle.asked == [asked]


def test_a_clip_of_several_sizes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for frame, size in ("1", (24, 32)), ("2", (32, 24)):
        for folder in ("input", "target"):
            picture(tmp_path / "VRDS" / folder / "clip" / f"{frame}.png", size=size)
    monkeypatch.setattr(cli, "_load", lambda options: Idle())
    assert cli.main(["quality", "--pairs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "VRDS, clip: picture 1 is (32, 24, 3)" in error and error.count("\n") == 1


def test_a_missing_result_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "input" / "1.png")
    picture(tmp_path / "target" / "1.png")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no result named 1 or 1 in it"):
        pairs.measure(find(tmp_path), Derainer(Idle(), pattern="heavy"), {"mine": tmp_path / "mine"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["mine"], "give NAME=FOLDER"),
        (["ours=."], "--results ours=...: that name is taken"),
        (["input=."], "--results input=...: that name is taken"),
        (["a=.", "b=.", "a=/"], "--results a=...: that name is taken"),
    ],
)
def test_rows_need_folders_and_names_of_their_own(given: list[str], said: str) -> None:
    with pytest.raises(FootageError, match=said):
        pairs.folders(given)


@pytest.mark.parametrize("below", ["7/", ""])
def test_results_lie_where_their_rainy_pictures_do_or_have_names_that_suffice(below: str, tmp_path: Path) -> None:
    for folder in ("real_world", "real_world_gt"):
        picture(tmp_path / "sets" / "SPA" / folder / "7" / "1.png", 90)
    picture(tmp_path / "mine" / "SPA" / f"{below}1.png", 90)
    scores = pairs.measure(find(tmp_path / "sets"), Derainer(Idle(), pattern="heavy"), {"mine": tmp_path / "mine"})
    assert {score.method: score.psnr for score in scores}["mine"] == 100
    for folder in ("real_world", "real_world_gt"):
        picture(tmp_path / "sets" / "SPA" / folder / "8" / "1.png", 90)
    with pytest.raises(FootageError, match="no result named 1"):
        pairs.measure(find(tmp_path / "sets"), Derainer(Idle(), pattern="heavy"), {"mine": tmp_path / "mine"})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_text_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    write(path, np.full((40, 40, 3), 90, np.uint8))
    assert (read(path) == 90).all() and load([tmp_path])[0].name == path.stem
    clip = Clip(path.stem, np.full((1, 40, 40), 90, np.uint8), np.full((1, 2, 20, 20), 128, np.uint8))
    sheet.write(path, [named("drizzle")], [clip], methods.untouched)
    assert read(path).shape[1] == 4 * sheet.WIDTH


@pytest.mark.parametrize("data", [b"", b"torn"])
def test_what_is_no_picture_is_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert read(tmp_path / "a.png") is None


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (400, 31)])
def test_scenes_too_small_to_train_on_are_named(size: tuple[int, int], tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=size)
    with pytest.raises(ValueError, match=rf"a\.png: it has {size[1]}x{size[0]} pixels, less than 32 a side; take it out"):
        load([tmp_path])
