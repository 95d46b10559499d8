"""The quality benchmark on made clips and a made runtime: the figures, the table, the sheet and the errors."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from derain_video.benchmarks import cli, footage, methods, quality, report
from derain_video.benchmarks.footage import Clip
from derain_video.benchmarks.kinds import named
from derain_video.export.errors import OptionError
from derain_video.export.runtime.base import Clean


class Darkest:
    """A runtime whose every network takes the second darkest neighbour, and that always perceives heavy rain."""

    name, model, precision, device = "made", "fast", "fp32", "cpu"

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([0.1, 0.2, 0.6, 0.1], np.float32)

    def derain(self, pattern: str, y: NDArray[np.uint8], uv: NDArray[np.uint8], near: NDArray[np.uint8], peak: int, model: str = "") -> Clean:
        darkest = np.minimum(y, near[:, 1:2])
        return Clean(darkest, uv, (darkest != y).astype(np.uint8))


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Six frames of one soft picture, which do not move."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(40, 200, (96, 144)), (0, 0), 3).astype(np.uint8)
    return Clip("still-life", np.stack([picture] * 6), np.full((6, 2, 48, 72), 128, np.uint8), camera="static")


@pytest.fixture(scope="module")
def rows(clip: Clip) -> list[quality.Row]:
    compared = {"input": methods.untouched, "median5": methods.median, "ours": methods.ours(Darkest())}
    kinds = [named("thin-long"), named("clean")]
    return [row for part in quality.rows(kinds, [clip], compared) for row in part]


def test_rain_on_a_still_scene_goes_with_temporal_state(rows: list[quality.Row]) -> None:
    gains = {name: quality.summary("thin-long", name, rows).gain for name in ("input", "median5", "ours")}
    assert gains["input"] == 0 and gains["median5"] > 2 and gains["ours"] > 2


def test_the_clean_scene_stays(rows: list[quality.Row]) -> None:
    part = quality.summary("clean", "ours", rows)
    assert (part.harm, part.changed, part.patterns) == (100.0, 0.0, {"heavy": 1.0})


def test_stills_do_not_enter_the_mean_of_clips(rows: list[quality.Row]) -> None:
    poor = [replace(row, camera="still", clip="photo", psnr=row.psnr - 9 * (row.method == "ours")) for row in rows]
    part = quality.summary("thin-long", "ours", rows + poor)
    assert part.gain == pytest.approx(quality.summary("thin-long", "ours", rows).gain)
    assert part.gain_by_camera["still"] == pytest.approx(part.gain - 9)
    assert (part.worst_clip, part.clips) == ("photo", 1)


def test_oracle_takes_the_best_of_each_clip(rows: list[quality.Row]) -> None:
    best = quality.oracle(rows, ("input", "median5", "ours"))
    assert [row.kind for row in best] == ["thin-long", "clean"]
    assert best[0].psnr == max(row.psnr for row in rows if row.kind == "thin-long")


def test_mean_over_kinds_has_the_worst_of_all(rows: list[quality.Row]) -> None:
    parts = [quality.summary(kind, "ours", rows) for kind in ("thin-long", "clean")]
    mean = quality.overall("ours", parts)
    assert mean.gain == pytest.approx(sum(part.gain for part in parts) / 2)
    assert mean.worst_gain == min(part.gain for part in parts)


def test_report_prints_and_draws(clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = {"input": methods.untouched, "ours": methods.ours(Darkest()), "light": methods.ours(Darkest(), "light")}
    result = report.quality([named("gusts"), named("grain")], [clip], compared, tmp_path / "sheet.png")
    text = capsys.readouterr().out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("gusts")] == ["input", "ours", "light", "oracle"]
    assert "heavy 100%" in text and "oracle" in text
    assert json.dumps(result) and {"commit", "versions", "machine", "summaries", "rows"} <= set(result)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None and picture.shape == (2 * 320, 4 * 480, 3)


def test_one_pattern_passes_clear_frames_through(clip: Clip) -> None:
    result = methods.ours(Darkest(), "clear")(clip)
    assert np.array_equal(result.clip.y, clip.y) and set(result.patterns) == {"clear"}
    with pytest.raises(OptionError, match="pattern 'hail' is not known"):
        methods.ours(Darkest(), "hail")(clip)


def made_clip(path: Path, size: tuple[int, int] = (64, 48), count: int = 5) -> None:
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for value in range(count):
            picture = np.full((size[1], size[0], 3), 40 * value, np.uint8)
            box.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(stream.encode(None))


def test_footage_reads_clips_stills_and_cameras(tmp_path: Path) -> None:
    made_clip(tmp_path / "a.mp4")
    cv2.imwrite(str(tmp_path / "b.png"), np.full((31, 45, 3), 200, np.uint8))
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "camera"), ("val/a.mp4", "moving")])
    moving, still = footage.footage(tmp_path, frames=3)
    assert (moving.name, moving.camera, moving.fps, moving.y.shape, moving.uv.shape) == ("a", "moving", 10.0, (3, 48, 64), (3, 2, 24, 32))
    assert (still.name, still.camera, still.y.shape, still.uv.shape) == ("b", "still", (1, 30, 44), (1, 2, 15, 22))
    assert abs(int(still.y[0, 0, 0]) - (16 + 200 * 219 / 255)) <= 1


def test_files_of_one_name_are_told_apart_and_a_manifest_may_be_anothers(tmp_path: Path) -> None:
    for place in ("one/a.png", "other/a.png", "other/b.png", "other/b.jpg", "other/c.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / place), np.full((32, 32, 3), 200, np.uint8))
    (tmp_path / "manifest.csv").write_bytes(b"name,gr\xf6sse\nx,1\n")
    assert [clip.name for clip in footage.footage(tmp_path)] == ["one/a.png", "other/a.png", "other/b.jpg", "other/b.png", "c"]


@pytest.mark.parametrize(("lines", "sizes"), [(0, (48, 64)), (30, (48, 64)), (99, (100, 132)), (96, (96, 128))])
def test_footage_is_enlarged_to_as_many_lines_never_made_smaller(tmp_path: Path, lines: int, sizes: tuple[int, int]) -> None:
    made_clip(tmp_path / "a.mp4")
    (clip,) = footage.footage(tmp_path, frames=2)
    large = footage.enlarged(clip, lines)
    assert large.y.shape == (2, *sizes) and large.uv.shape == (2, 2, sizes[0] // 2, sizes[1] // 2)
    assert abs(float(large.y.mean()) - float(clip.y.mean())) < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quality"], "give a folder of clean clips"),
        (["quality", "nowhere"], "nowhere: no such folder"),
        (["quality", "empty"], "empty: no clips"),
        (["quality", "broken"], "x.mp4: cannot be read as a picture or video"),
        (["quality", "empty", "--kinds", "hail"], "kind 'hail' is not known"),
        (["quality", "empty", "--runtime", "abacus"], "abacus"),
        (["quality", "empty", "--sheet", "sheet.xyz"], "argument --sheet: 'sheet.xyz': give a name that ends in .png or .jpg"),
        (["quality", "empty", "--by-pattern"], "--by-pattern: of --pairs; leave it out"),
        (["quality", "--pairs", "empty", "--kinds", "gusts", "--each"], "--kinds, --each: of rendered rain, not of --pairs"),
        (["quality", "--pairs", "empty", "--frames", "5", "--clips", "1", "--lines", "9"], "--frames, --clips, --lines: of rendered rain"),
        (["quality", "empty", "--lines", "9999"], "argument --lines: '9999': give a whole number from 0 to 4320"),
        (["quality", "empty", "--json", "broken"], "broken: is a folder; give the name of a file"),
        (["ablation", "empty", "--model", "auto"], "argument --model: invalid choice: 'auto'"),
        (["trace", "empty", "trace.xyz"], "argument picture: 'trace.xyz'"),
        (["trace", "broken/x.mp4", "nowhere/a.png"], "nowhere/a.png: the folder nowhere is not there"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.mp4").write_bytes(b"not a video")
    try:
        assert cli.main(arguments) == 2
    except SystemExit as ended:  # by the parser
        assert ended.code == 2
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1


def test_pictures_too_small_to_measure_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((10, 64, 3), np.uint8))
    assert cli.main(["quality", str(tmp_path)]) == 2
    assert "tiny.png: has less than 11 pixels a side" in capsys.readouterr().err
