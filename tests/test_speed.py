"""The speed and routing benchmarks: what is computed from times, and the parts on a made runtime."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from derain_video.benchmarks import cli, origin, peer, report, routing, scene, speed
from derain_video.benchmarks.footage import Clip, FootageError, to_and_fro
from derain_video.benchmarks.speed import Pace, Run
from derain_video.export.runtime.base import Clean


class Watching:
    """A runtime that perceives rain in proportion to fine detail, counts its looks, and changes nothing."""

    name, model, precision, device = "made", "fast", "fp32", "cpu"

    def __init__(self) -> None:
        self.looks = self.frames = self.thumbnails = 0

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.looks += 1
        detail = np.abs(np.diff(views.astype(np.int16), axis=-1)).mean()
        return np.eye(4, dtype=np.float32)[int(np.digitize(detail, (2, 6, 12)))]

    def derain(self, pattern: str, y: NDArray[np.uint8], uv: NDArray[np.uint8], near: NDArray[np.uint8], peak: int, model: str = "") -> Clean:
        if (uv == 128).all():
            self.thumbnails += 1
        else:
            self.frames += 1
        return Clean(y, uv, np.zeros(y.shape, np.uint8))

    def close(self) -> None: ...

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *fault: object) -> None: ...


def test_the_steady_pace_leaves_start_up_out() -> None:
    fps, cpu = speed.steady(Run(2.0, 3.0, None), Run(12.0, 23.0, None), 102)
    assert (fps, cpu) == pytest.approx((10.0, 0.2))
    with pytest.raises(FootageError, match="--frames: 26 frames"):
        speed.steady(Run(8.0, 9.0, None), Run(7.9, 9.0, None), 26)


def test_efficiency_on_shared_cores_and_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "cores", lambda: 2)
    derained = Pace(fps=30, cpu=0.06, p50=30, p99=40)
    assert speed.efficiency("cpu", 20, (100, 0.02), derained, 0) == pytest.approx(20 * 0.08 / 2)
    assert speed.efficiency("cuda", 36, (100, 0.02), derained, 40) == pytest.approx(0.9)


def test_pace_leaves_the_warm_up_out() -> None:
    def work() -> Iterator[object]:
        for i in range(speed.WARM_UP + 5):
            time.sleep(0.05 if i < speed.WARM_UP else 0.004)
            yield None

    measured = speed.pace(work)
    assert 100 < measured.fps < 251 and 3.9 < measured.p50 <= measured.p99 < 20


def test_network_and_stage_run_what_they_say() -> None:
    clip = scene.scene((96, 64))
    alone, whole = Watching(), Watching()
    speed.pace(lambda: speed.network(alone, clip, 4))
    speed.pace(lambda: speed.stage(whole, clip, 4))
    assert (alone.frames, whole.frames) == (4 + speed.WARM_UP, 4 + speed.WARM_UP)
    assert (alone.thumbnails, whole.thumbnails) == (0, 4 + speed.WARM_UP)


def test_the_scene_moves_and_is_written_at_its_size(tmp_path: Path) -> None:
    clip = scene.scene((96, 64))
    assert clip.y.shape == (scene.SHOT, 64, 96) and np.abs(clip.y[0].astype(int) - clip.y[5]).mean() > 1
    scene.write(tmp_path / "a.mp4", clip, 60)
    with av.open(str(tmp_path / "a.mp4")) as box:
        assert [(frame.width, frame.height) for frame in box.decode(video=0)] == [(96, 64)] * 60


def test_a_clip_of_the_users_is_brought_to_the_size(tmp_path: Path) -> None:
    scene.write(tmp_path / "a.mp4", scene.scene((64, 48)), 4)
    assert scene.scene((96, 64), tmp_path / "a.mp4").y.shape == (4, 64, 96)


def test_the_programs_own_error_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.mp4"):
        speed.process(str(tmp_path / "none.mp4"), str(tmp_path / "out.mp4"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_memory_is_the_programs_alone(tmp_path: Path) -> None:
    scene.write(tmp_path / "in.mp4", scene.scene((96, 64)), 4)
    ballast = np.ones(800 << 20, np.uint8)
    done = speed.process(str(tmp_path / "in.mp4"), str(tmp_path / "out.mp4"), "--pattern", "clear")
    assert done.peak and 30 < done.peak < ballast.nbytes / 2**20


def test_table_has_a_row_for_each_size() -> None:
    row = speed.Speed("360p", 10, "onnx", "fp32", "cpu", 300, 50, 45, 40.5, 0.93, 0.8, 20, 31, None)
    lines = speed.table([row, row]).splitlines()
    assert len(lines) == 3 and " ".join(lines[1].split()) == "360p onnx fp32 300 50 45 40.5 0.93 0.8 20 31 - -"


def test_every_runtime_has_a_row_for_each_size(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def row(size: str, options: object, runtime: Any, *rest: object) -> speed.Speed:
        return speed.Speed(size, 10, runtime.name, "fp32", "cpu", 300, 50, 45, 40.5, 0.93, 0.8, 20, 31, None)

    def load(options: object, name: str) -> Any:
        made = Watching()
        made.name = name
        return made

    monkeypatch.setattr(report, "_one_size", row)
    monkeypatch.setattr(cli, "_load", load)
    assert cli.main(["speed", "--runtime", "openvino", "onnx", "--sizes", "360p", "720p"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["360p", "openvino"], ["720p", "openvino"], ["360p", "onnx"], ["720p", "onnx"]]


def test_a_peer_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebody.py").write_text("def network():\n    return lambda rgb: rgb * 0.5\n")
    monkeypatch.chdir(tmp_path)
    clip = scene.scene((96, 64))
    (out, *rest) = peer.work(peer.load("somebody:network"), clip, 3)
    assert tuple(out.shape) == (1, 3, 64, 96) and 0 < float(out.mean()) < 0.5 and len(rest) == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "AttributeError"),
        ("def network(", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("network = lambda: 3", "TypeError: 'int' object is not callable"),
        ("network = lambda: lambda rgb: rgb[..., 1:]", r"it makes \(1, 3, 96, 127\) of \(1, 3, 96, 128\)"),
        ("network = lambda: lambda rgb: None", "it makes NoneType"),
        ("def network():\n    raise RuntimeError('no\\nmemory')", "RuntimeError: no memory"),
    ],
)
def test_a_peer_that_is_none_is_one_line(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_peer.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_peer", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    with pytest.raises(FootageError, match=f"--peer bad_peer:network: .*{said}") as caught:
        peer.load("bad_peer:network")
    assert "\n" not in str(caught.value)


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "speed", interrupted)
    assert cli.main(["speed"]) == 130
    assert capsys.readouterr().err == "derain-bench: interrupted\n"


def clips() -> list[Clip]:
    """A smooth and a busy clip of a second each."""
    rng = np.random.default_rng(2)
    smooth = np.full((25, 90, 160), 120, np.uint8)
    busy = np.repeat(rng.integers(60, 200, (1, 90, 160)), 25, axis=0).astype(np.uint8)
    uv = np.full((25, 2, 45, 80), 128, np.uint8)
    return [Clip("smooth", smooth, uv), Clip("busy", busy, uv)]


def test_joining_by_cuts_and_by_fades() -> None:
    a, b = clips()
    assert len(routing.joined([a, b], 0)) == 50
    faded = routing.joined([a, b], 12)
    assert len(faded) == 38
    assert np.array_equal(faded.y[:13], a.y[:13]) and np.array_equal(faded.y[-13:], b.y[-13:])
    middle = np.abs(faded.y[18].astype(int) - (a.y[0].astype(int) + b.y[0]) / 2)
    assert middle.mean() < 8


def test_a_take_goes_forth_and_back() -> None:
    clip = clips()[0].with_planes(*(np.arange(4, dtype=np.uint8).reshape(-1, *[1] * count) for count in (2, 3)))
    taken = clip.at(to_and_fro(4, 9))
    assert taken.y.ravel().tolist() == taken.uv.ravel().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_routing_counts_hits_and_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SIZE", (160, 90))
    perceiver = Watching()
    monkeypatch.setattr(routing, "TAKE", 40)
    none, cuts, fades = routing.measure(clips(), perceiver, seed=1)
    assert (none.joins, none.frames, none.cuts) == ("none", 160, 0)
    assert (cuts.joins, cuts.frames, fades.joins, fades.cuts) == ("cuts", 100, "fades", 0)
    assert 1 <= cuts.cuts <= 3 and cuts.hit_rate > 0.5 and cuts.agreement > 0.8
    uncached = none.frames + cuts.frames + fades.frames
    cached = sum(round((1 - each.hit_rate) * each.frames) for each in (none, cuts, fades))
    assert perceiver.looks == uncached + cached
    assert len(routing.table([none, cuts, fades]).splitlines()) == 4


def test_the_share_of_routing_grows_with_what_a_look_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SIZE", (160, 90))
    monkeypatch.setattr(routing, "TAKE", 10)

    class Slow(Watching):
        def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
            end = time.process_time() + 1
            while time.process_time() < end:
                pass
            return super().perceive(views)

    assert 0 < routing.share(clips(), Watching()) < 0.9 < routing.share(clips(), Slow()) < 1


def test_origin_names_machine_versions_and_commit() -> None:
    told = origin.origin()
    assert {"command", "date", "machine", "versions", "commit"} == set(told)
    assert told["machine"]["cores"] >= 1 and told["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    "arguments",
    [
        ["routing", "nowhere"],
        ["speed", "--peer", "nobody:here"],
        ["speed", "--peer", ""],
        ["speed", "--clip", "nowhere.mp4"],
        ["quality", ".", "--sheet", "nowhere/s.png"],
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    text = capsys.readouterr().err
    assert text.split("\r")[-1].startswith("derain-bench: ") and text.count("\n") == 1
    assert any(word in text for word in ("nowhere", "nobody", "--peer :"))
