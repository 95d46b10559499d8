"""What derain-export and the runner of an edge folder refuse, in one line and with nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from derain_video.export import check, cli, edge, manifest, probe, runtime
from derain_video.export.check import MOST_SCORE, Row, Source, rows
from derain_video.export.errors import GraphError, OptionError
from derain_video.export.graph import PERCEPTION, Graph
from derain_video.export.parity import Parity


def film(path: Path, *sizes: tuple[int, int]) -> Path:
    """Twelve grey frames of each size, one after the other, as MPEG-TS; without a size a second of silence."""
    data = b""
    for size in sizes or (None,):
        with av.open(str(path), "w", format="mpegts") as box:
            if size:
                stream = box.add_stream("mpeg2video", rate=25)
                stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
                for _ in range(12):
                    box.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 90, np.uint8), format="rgb24")))
            else:
                stream = box.add_stream("aac", rate=48000)
                sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
                sound.sample_rate = 48000
                box.mux(stream.encode(sound))
            box.mux(stream.encode(None))
        data += path.read_bytes()
    path.write_bytes(data)
    return path


FINE = Parity(1, 0.1, 90.0)


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        (Row("onnx", "fp32", FINE, MOST_SCORE), True),
        (Row("onnx", "fp32", FINE, 2 * MOST_SCORE), False),
        (Row("onnx", "fp32", None, note="damaged", fault=True), False),
        (Row("onnx", "fp32", None, note="not installed"), True),
    ],
)
def test_what_check_is_content_with(row: Row, fits: bool) -> None:
    assert row.fits is fits and ("too far" in str(row)) is (row.parity is not None and not fits)


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """Perception that no runtime reads, though the manifest has its hash, and no other graph."""
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "perception.onnx").write_bytes(b"torn")
    manifest.add(folder, {"perception.onnx": {"sha256": manifest.sha256(b"torn")}})
    return folder


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_graph_that_cannot_be_read_is_named(name: str, graphs: Path) -> None:
    pytest.importorskip("onnxruntime" if name == "onnx" else name)
    with runtime.load(name, folder=graphs) as networks, pytest.raises(GraphError, match=r"perception\.onnx: .* cannot read this graph") as caught:
        networks.perceive(np.zeros((1, 3, 224, 224), np.uint8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "precisions", "fault"),
    [("light", (), False), ("light", ("fp32",), True), (PERCEPTION, (), True)],
)
def test_a_graph_that_is_absent_is_a_fault_where_it_was_asked_for(
    pattern: str, precisions: tuple[str, ...], fault: bool, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opened:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def looked_up(*_: object) -> None:
        (graphs / "perception.onnx").unlink(missing_ok=True)  # which the manifest still names
        manifest.content(graphs, Graph(PERCEPTION) if pattern == PERCEPTION else Graph("fast", pattern, "u8"))

    monkeypatch.setattr(Source, "open", lambda *_: Opened())
    monkeypatch.setattr(check, "_pictures", lambda *_: [])
    monkeypatch.setattr(check, "_scores", lambda *_: [])
    monkeypatch.setattr(check, "_row", looked_up)
    found = list(rows([], Source(), ["onnx"], precisions))
    assert len(found) == (1 if precisions else 3) and {(row.fault, "no such graph" in row.note) for row in found} == {(fault, True)}


@pytest.mark.parametrize(
    ("text", "why"), [("[", "Expecting value"), ('{"name": "app"}', "graphs"), ('{"graphs": {"a": {}}}', "sha256"), ('{"graphs": {"a": 1}}', "")]
)
def test_a_manifest_that_is_none_is_said_before_anything_is_written(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / manifest.FILE).write_text(text)
    for argv in (["onnx", "--only", "light", "--out", str(tmp_path)], ["edge", str(tmp_path)], ["check", "--graphs", str(tmp_path)]):
        assert cli.main(argv) == 2
        error = capsys.readouterr().err
        assert "manifest.json: damaged manifest, or none of graphs" in error and why in error and "remove it" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [manifest.FILE]


@pytest.mark.parametrize("name", ["README.md", "run.py"])
def test_an_edge_export_overwrites_nobodys_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OptionError, match=f"{name}: would be overwritten"):
        next(edge.export(tmp_path, "fast", cli.WEIGHTS, []))
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_footage_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"a\.ts: its frames change in size"):
        probe.footage(film(tmp_path / "a.ts", (64, 48), (96, 64)), 2)
    with pytest.raises(GraphError, match=r"b\.ts: no frames could be read"):
        probe.footage(film(tmp_path / "b.ts"), 2)


def test_figures_are_not_written_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--json", str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder" in capsys.readouterr().err


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "check", interrupted)
    assert cli.main(["onnx"]) == 130
    assert capsys.readouterr().err == "derain-export: interrupted; what it has told of is kept\n"


@pytest.mark.parametrize(
    ("sizes", "options", "said"),
    [
        ((), [], "in.ts: there is no video in it"),
        (((64, 48), (96, 64)), [], "has another size; cut the video there"),
        (((64, 48),), ["--precision", "int8"], "perception_int8.onnx: no such graph; fill this folder anew"),
    ],
)
def test_the_edge_runner_says_it_in_one_line_and_leaves_nothing(
    sizes: tuple[tuple[int, int], ...], options: list[str], said: str, tmp_path: Path
) -> None:
    shutil.copy(edge.RUNNER, tmp_path / "run.py")
    for graph in (Graph(PERCEPTION), Graph("fast", "past", "u8"), Graph("fast", "still", "u8")):
        shutil.copy(manifest.GRAPHS / graph.file, tmp_path)
    before = {path.name for path in tmp_path.iterdir()} | {"in.ts", "out.mp4"}
    film(tmp_path / "in.ts", *sizes)
    (tmp_path / "out.mp4").write_bytes(b"of an earlier run")
    done = subprocess.run([sys.executable, "run.py", "in.ts", "out.mp4", *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before and (tmp_path / "out.mp4").read_bytes() == b"of an earlier run"
