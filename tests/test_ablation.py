"""Routing against one network, stability, perception and its lookalikes: on made clips and made runtimes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from derain_video.benchmarks import ablation, cli, perception, stability, temporal
from derain_video.benchmarks.footage import Clip, frame, to_and_fro
from derain_video.benchmarks.kinds import named
from derain_video.benchmarks.lookalikes import LOOKALIKES, dressed
from derain_video.benchmarks.methods import Result, untouched
from derain_video.export.runtime.base import Clean
from derain_video.models.perception import blank
from derain_video.models.spec import PATTERNS, RAINY, SPECS
from derain_video.models.store import save
from derain_video.models.subnet import DerainNet


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Thirty frames of a soft picture that moves by a pixel each."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (120, 230)), (0, 0), 4)
    wide = 40 + 120 * (wide - wide.min()) / np.ptp(wide)
    y = np.stack([wide[:, t : t + 192] for t in range(30)]).astype(np.uint8)
    return Clip("pan", y, np.full((30, 2, 60, 96), 128, np.uint8), camera="moving")


@pytest.fixture
def folder(clip: Clip, tmp_path: Path) -> Path:
    """The clip as a file."""
    place = tmp_path / "clean"
    place.mkdir()
    with av.open(str(place / "pan.mp4"), "w") as box:
        stream = box.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *clip.y.shape[1:], "yuv420p"
        for y, uv in zip(clip.y, clip.uv, strict=True):
            box.mux(stream.encode(frame(y, uv)))
        box.mux(stream.encode(None))
    return place


class Rough:
    """A runtime that takes fine bright detail for rain: `light` above 1 of roughness, `heavy` above 4; its networks take the darkest neighbour."""

    name, model, precision, device = "made", "fast", "fp32", "cpu"

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        green = views[0, 1].astype(np.float32)
        rough = float(np.abs(green - cv2.GaussianBlur(green, (0, 0), 2)).mean())
        return np.eye(len(PATTERNS), dtype=np.float32)[int(rough > 1) + int(rough > 4)]

    def derain(self, pattern: str, y: NDArray[np.uint8], uv: NDArray[np.uint8], near: NDArray[np.uint8], peak: int, model: str = "") -> Clean:
        darkest = np.minimum(y, near[:, 1:2])
        return Clean(darkest, uv, (darkest != y).astype(np.uint8))

    def close(self) -> None: ...

    def __enter__(self) -> Rough:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes_are_the_same_each_time_and_touch_the_picture(name: str, clip: Clip) -> None:
    short = clip.with_planes(clip.y[:3], clip.uv[:3])
    first, again = dressed(name, short), dressed(name, short)
    assert np.array_equal(first.y, again.y) and first.y.shape == short.y.shape and first.uv.shape == short.uv.shape
    assert float((first.y != short.y).mean()) > 0.05


def test_snow_stays_for_many_frames_where_rain_does_not(clip: Clip) -> None:
    still = clip.with_planes(clip.y[[0] * 2], clip.uv[[0] * 2])
    flakes = dressed("snow", still).y.astype(float) - still.y
    moved = np.roll(flakes[0], 4, 0)
    assert np.corrcoef(moved.ravel(), flakes[1].ravel())[0, 1] > 0.2


@pytest.mark.parametrize(("kind", "truth"), [("drizzle", "light"), ("dense", "downpour"), ("depths", "heavy"), ("grain", "clear")])
def test_kinds_have_a_pattern(kind: str, truth: str, clip: Clip) -> None:
    y = np.stack([cv2.resize(plane, (640, 360)) for plane in clip.y[:2]])
    assert perception.pattern(named(kind), clip.with_planes(y, np.full((2, 2, 180, 320), 128, np.uint8))) == truth


def test_the_matrix_counts_every_look() -> None:
    looks = [
        perception.Look("drizzle", "a", "light", {"light": 3, "clear": 1}),
        perception.Look("dense", "a", "downpour", {"heavy": 4}),
        perception.Look("fence", "a", "clear", {"clear": 2, "heavy": 2}),
    ]
    matrix = perception.matrix(looks)
    assert matrix["light"] == {"clear": 1, "light": 3, "heavy": 0, "downpour": 0}
    assert matrix["downpour"]["heavy"] == 4 and sum(matrix["heavy"].values()) == 0
    assert (perception.missed(looks), perception.derained(looks)) == (1 / 8, 2 / 4)


def test_perception_as_a_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "_load", lambda options: Rough())
    assert cli.main(["perception", str(folder), "--frames", "2", "--json", str(tmp_path / "out.json")]) == 0
    text = capsys.readouterr().out
    result = json.loads((tmp_path / "out.json").read_text())
    assert {look["weather"] for look in result["looks"]} >= {"drizzle", "clean", "snow", "film-grain", "night-lamps", "fence"}
    assert sum(sum(row.values()) for row in result["matrix"].values()) == 2 * len(result["looks"])
    assert result["matrix"]["heavy"]["heavy"] > 0 and result["matrix"]["clear"]["clear"] > 0
    assert f"rain passed as clear: {result['missed_rain']:.1%}" in text and result["dry_derained"] > 0


def test_to_and_fro_shows_the_same_pictures_in_both_spans(clip: Clip) -> None:
    long = clip.at(to_and_fro(stability.SHOT, stability.FRAMES))
    assert len(long) == 300 and np.array_equal(long.y[stability.EARLY], long.y[stability.LATE])
    assert not np.array_equal(long.y[50], long.y[51])


def test_drift_is_seen_and_its_absence_too(clip: Clip) -> None:
    small = clip.with_planes(clip.y[:, :64, :64], clip.uv[:, :, :32, :32])

    def drifting(seen: Clip) -> Result:
        fog = np.arange(len(seen))[:, None, None] // 20
        return Result(seen.with_planes(np.clip(seen.y + fog, 0, 255).astype(np.uint8), seen.uv))

    (steady,), (drifted,) = (list(stability.measure([named("thin-long")], [small], method)) for method in (untouched, drifting))
    assert steady.early == steady.late == 0 and abs(steady.early_temporal - steady.late_temporal) < 2
    assert drifted.lost > 1


def test_stability_of_a_window_of_frames(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_load", lambda options: Rough())
    monkeypatch.setattr("derain_video.benchmarks.routing.SIZE", (96, 64))
    given = ["stability", str(folder), "--kinds", "thick-short", "--pattern", "heavy", "--json", str(tmp_path / "out.json")]
    assert cli.main(given) == 0
    (found,) = json.loads((tmp_path / "out.json").read_text())["stability"]
    assert found["early"] > 1 and abs(found["early"] - found["late"]) < 1


def test_short_clips_cannot_show_stability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "_load", lambda options: Rough())
    cv2.imwrite(str(tmp_path / "still.png"), np.full((64, 64, 3), 90, np.uint8))
    assert cli.main(["stability", str(tmp_path)]) == 2
    assert "no clip of 26 frames or more" in capsys.readouterr().err


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that were never trained; all alike but `downpour`, which does nothing."""
    import torch

    torch.manual_seed(0)
    place, net = tmp_path_factory.mktemp("weights"), DerainNet(SPECS["fast"])
    for name in ("generalist", "light", "heavy"):
        save(place / f"fast_{name}.safetensors", net.state_dict(), {})
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.fill_(-9)
    save(place / "fast_downpour.safetensors", net.state_dict(), {})
    save(place / "derain-small.safetensors", blank().state_dict(), {})
    return place


def test_ablation_as_a_command(folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["ablation", str(folder), "--frames", "3", "--kinds", "thin-long", "dense", "clean", "--weights", str(weights)]
    assert cli.main([*given, "--json", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    rows = {(row["kind"], row["method"]): row for row in result["rows"]}
    assert {method for _, method in rows} == set(ablation.ORDER)
    assert rows["thin-long", "single"]["psnr"] == rows["thin-long", "heavy"]["psnr"]
    assert rows["dense", "true"]["psnr"] == rows["dense", "downpour"]["psnr"] == rows["dense", "input"]["psnr"]
    assert rows["clean", "true"]["harm"] == 100
    for kind in ("thin-long", "dense", "clean"):
        assert rows[kind, "best"]["psnr"] == max(rows[kind, name]["psnr"] for name in ("input", *RAINY))
    assert {part["kind"] for part in result["patterns"]} == {"heavy", "downpour"}
    assert "over one network, in dB on the mean of all kinds of rain: routed" in capsys.readouterr().out


def test_ablation_without_the_generalist_is_one_line(folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ablation", str(folder), "--weights", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "fast_generalist.safetensors: no weights there" in error and error.count("\n") == 1


def test_state_is_worth_what_its_neighbours_show(clip: Clip) -> None:
    """A pan by six pixels each frame: the darkest neighbour helps more when it is aligned."""
    clip = clip.with_planes(clip.y[::6], clip.uv[::6])
    found = [row for part in temporal.measure([named("thin-long")], [clip], Rough(), "heavy") for row in part]
    gain = {row.state: row.gain for row in found}
    assert list(gain) == [state.name for state in temporal.STATES] and {row.camera for row in found} == {"fast"}
    assert gain["none"] == 0
    for motion in ("global", "flow"):
        assert gain[f"2 past, 2 ahead, {motion}"] > gain["2 past, 2 ahead, unaligned"] + 1
        assert gain[f"4 past, {motion}"] > 3
    assert gain["4 clean past, flow"] != gain["4 past, flow"]
    assert temporal.table(found).count("\n") == len(temporal.STATES)


def test_what_is_not_routed_goes_to_the_network_of_files() -> None:
    asked: list[str] = []

    class Asked(Rough):
        def derain(self, pattern: str, y: NDArray[np.uint8], *planes: object) -> Clean:
            if y.shape[2] == 32:  # not a thumbnail
                asked.append(pattern)
            return super().derain(pattern, y, *planes)

    clip = Clip("grey", np.full((3, 32, 64), 90, np.uint8), np.full((3, 2, 16, 32), 128, np.uint8))
    for state in temporal.STATES:
        if state.name.startswith("4 past, flow"):
            temporal.derained(clip, state, Asked(), "heavy")
    assert asked == ["still", "past", "past", "still", "heavy", "heavy"]


def test_temporal_as_a_command(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("derain_video.export.runtime.load", lambda *_, **__: contextlib.nullcontext(Rough()))
    assert cli.main(["temporal", str(folder), "--frames", "3", "--kinds", "clean"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["temporal", str(folder), "--frames", "3", "--kinds", "thin-long", "clean", "--json", str(tmp_path / "out.json")]) == 0
    assert {row["kind"] for row in json.loads((tmp_path / "out.json").read_text())["temporal"]} == {"thin-long"}


def test_another_clip_perceives_in_the_benchmarks(
    folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from derain_video.benchmarks.eye import Eye

    eye = Eye(Rough(), "derain-small", str(weights / "derain-small.safetensors"))
    scores = eye.perceive(np.zeros((2, 3, 224, 224), np.uint8))
    assert scores.shape == (4,) and abs(float(scores.sum()) - 1) < 1e-5
    assert (eye.name, eye.device) == ("made", "cpu")
    monkeypatch.setattr("derain_video.export.runtime.load", lambda *_, **__: Rough())
    assert cli.main(["perception", str(folder), "--clip", "CLAP", "--clip-pretrained", "x"]) == 2
    assert "--clip CLAP: open_clip has no such model" in capsys.readouterr().err
    assert cli.main(["perception", str(folder), "--clip-pretrained", "absent.pt"]) == 2
    assert "absent.pt: no weights there" in capsys.readouterr().err
