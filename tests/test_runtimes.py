"""Every runtime and precision computes the same pictures; exported graphs are compared, listed and refused when they differ."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from derain_video.export import cli, edge, manifest, parity, runtime, to_onnx
from derain_video.export.errors import GraphError, ParityError, RuntimeMissing
from derain_video.export.graph import PERCEPTION, Graph, subnet, subnets
from derain_video.export.half import packed, types
from derain_video.export.probe import Probe, drawn, footage
from derain_video.export.runtime import Runtime
from derain_video.export.runtime.torch_ import module
from derain_video.models import perception, store
from derain_video.models.spec import DRY, FAST, GENERALIST, NETWORKS, PAST, PATTERNS, QUALITY, RAINY, STILL, NetSpec
from derain_video.models.subnet import DerainNet
from derain_video.models.views import MANY, SIDE

CASES = [(name, precision) for name in runtime.NAMES[1:] for precision in runtime.OFFERED[name]]


def lively(spec: NetSpec) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = DerainNet(spec)
    with torch.no_grad():
        net.head.weight.normal_(std=0.03)
        net.head.weight[20:24].mul_(8)
        net.head.bias[20:24] = -2.8
        net.attention.out.weight.normal_(std=0.1)
    return net.state_dict()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of networks that do something: masks open at some pixels, attention not zero. The same for each pattern."""
    folder = tmp_path_factory.mktemp("weights")
    state = lively(FAST)
    for pattern in (*RAINY, PAST):
        store.save(folder / f"fast_{pattern}.safetensors", state, {})
    for name in (GENERALIST, STILL):
        store.save(folder / f"quality_{name}.safetensors", lively(QUALITY), {})
    store.save(folder / f"{perception.SMALL}.safetensors", perception.blank().state_dict(), {})
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Frames here are small, and threads that wait for each other on a busy machine are slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "cores", lambda: 1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def converted_once() -> Iterator[None]:
    """The patterns share weights here, so one conversion by torch.onnx, which takes seconds, serves them all; that of stills is asked twice."""
    convert, known = to_onnx.convert, dict[tuple[str, bool], bytes]()

    def once(net: nn.Module, graph: Graph) -> bytes:
        key = graph.network, graph.pattern == STILL
        known[key] = known.get(key) or convert(net, graph)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(to_onnx, "convert", once)
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of 150 x 118 pixels, of which one stands for longer."""
    path = tmp_path_factory.mktemp("clip") / "rain.mp4"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 150, 118, "yuv420p"
        for seed in range(8):
            luma = drawn(128, 192, seed=seed).y[0, 0, :118, :150]
            picture = av.VideoFrame.from_ndarray(np.repeat(luma[..., None], 3, 2), format="rgb24")
            picture.pts, picture.time_base = seed + 3 * (seed > 4), Fraction(1, 10)
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def graphs(weights: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    common = ["onnx", "--weights", str(weights), "--out", str(folder), "--frames", str(clip)]
    assert cli.main([*common, "--only", "light", "--precision", "fp32", "fp16", "int8"]) == 0
    assert cli.main([*common, "--only", PERCEPTION]) == 0
    return folder


def opened(name: str, precision: str, graphs: Path, weights: Path) -> Runtime:
    """Skips where a runtime is missing, unless DERAIN_TEST_GPU says that a GPU must be there."""
    try:
        return runtime.load(name, precision=precision, folder=weights if name == "torch" else graphs)
    except RuntimeMissing as error:
        if name == "tensorrt" and os.environ.get("DERAIN_TEST_GPU"):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("peak", [255, 1023])
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_every_runtime_computes_the_same_picture(name: str, precision: str, peak: int, graphs: Path, weights: Path) -> None:
    frame = drawn(128, 192, peak, seed=7)
    planes = (frame.y, frame.uv, frame.near, peak)
    with opened("torch", "fp32", graphs, weights) as reference, opened(name, precision, graphs, weights) as other:
        wanted, got = reference.derain("light", *planes), other.derain("light", *planes)
        again = other.derain("light", *planes)
    found = parity.between(parity.pictures(wanted, got), peak)
    assert parity.fits(found, precision), str(found)
    assert (got.y.dtype, got.uv.dtype, got.mask.dtype) == (frame.y.dtype, frame.uv.dtype, np.uint8)
    assert (got.y.shape, got.uv.shape, got.mask.shape) == (frame.y.shape, frame.uv.shape, frame.y.shape)
    untouched = got.mask == 0
    assert 0.01 < untouched.mean() < 0.99 and np.array_equal(got.y[untouched], frame.y[untouched])
    assert np.abs(wanted.y.astype(int) - frame.y).max() > peak // 8, "the network did nothing"
    assert np.array_equal(got.y, again.y) and not np.shares_memory(got.y, again.y) and got.y.flags.writeable


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("name", runtime.NAMES[1:])
def test_every_runtime_perceives_the_same(name: str, precision: str, graphs: Path, weights: Path) -> None:
    frame = drawn(448, 640, seed=3)
    with opened("torch", "fp32", graphs, weights) as reference, opened(name, precision, graphs, weights) as other:
        near = 0.02 if name == "openvino" and other.precision == "bf16" else 1e-4
        for views in (frame.views, frame.views[:2], frame.views[:1]):
            scores = other.perceive(views)
            assert scores.shape == (4,) and scores.dtype == np.float32 and scores.sum() == pytest.approx(1, abs=1e-5)
            assert np.abs(scores - reference.perceive(views)).max() < near


@pytest.mark.parametrize("name", ["torch", "onnx", "openvino"])
def test_many_threads_get_what_one_gets(name: str, graphs: Path, weights: Path) -> None:
    frames = [drawn(128, 192), drawn(64, 96, seed=1), drawn(128, 192, seed=2), drawn(64, 64, seed=3)] * 4
    with opened(name, "fp32", graphs, weights) as run:

        def clean(frame: Probe) -> np.ndarray:
            return run.derain("light", frame.y, frame.uv, frame.near, frame.peak).y

        alone = [clean(frame) for frame in frames[:4]] * 4
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(clean, frames))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_the_large_size_derains_thumbnails_by_the_fast_networks(weights: Path) -> None:
    assert {(graph.network, graph.pattern) for graph in subnets("quality", "u8")} == {
        ("quality", GENERALIST),
        *(("fast", name) for name in NETWORKS),
    }
    frame = drawn(64, 96)
    planes = (frame.y, frame.uv, frame.near, 255)
    large, small = (runtime.load("torch", model=size, folder=weights) for size in ("quality", "fast"))
    with large, small:
        wanted = small.derain("light", *planes).y
        assert np.array_equal(large.derain("light", *planes, "fast").y, wanted)
        assert not np.array_equal(large.derain("light", *planes).y, wanted)


def test_networks_are_built_when_first_used(graphs: Path) -> None:
    frame = drawn(64, 64)
    with runtime.load("onnx", folder=graphs) as networks:
        networks.derain("light", frame.y, frame.uv, frame.near, 255)
        with pytest.raises(GraphError, match=r"fast_heavy_u8.onnx: no such graph; make it with 'derain-export onnx --model fast"):
            networks.derain("heavy", frame.y, frame.uv, frame.near, 255)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pattern": "clear"}, "pattern 'clear' has no network"),
        ({"y": np.zeros((1, 1, 65, 64), np.uint8)}, "pad them with models.planes.pad"),
        ({"uv": np.zeros((1, 2, 64, 64), np.uint8)}, "pad them with models.planes.pad"),
        ({"near": np.zeros((1, 4, 64, 64), np.uint16)}, "all are uint8 or all uint16"),
    ],
)
def test_planes_that_do_not_fit_are_refused(change: dict[str, Any], words: str, graphs: Path) -> None:
    frame = drawn(64, 64)
    planes = {"pattern": "light", "y": frame.y, "uv": frame.uv, "near": frame.near, "peak": 255, **change}
    with runtime.load("onnx", folder=graphs) as networks, pytest.raises(ValueError, match=words):
        networks.derain(**planes)


def test_the_manifest_says_what_each_file_is(graphs: Path) -> None:
    entries = manifest.read(graphs)
    assert set(entries) == {path.name for path in graphs.glob("*.onnx")} and len(entries) == 7
    entry = entries["fast_light_u16_fp16.onnx"]
    assert (entry["network"], entry["pattern"], entry["dtype"], entry["precision"]) == ("fast", "light", "u16", "fp16")
    assert entry["spec"]["widths"] == [*FAST.widths] and entry["parity"]["psnr"] >= 50 and entry["commit"]
    assert all(entry["sha256"] == manifest.sha256((graphs / name).read_bytes()) for name, entry in entries.items())
    assert not list(graphs.glob("*.tmp"))


def test_graphs_have_the_contracts_signature(graphs: Path) -> None:
    model = onnx.load(graphs / "fast_light_u16.onnx")
    assert model.opset_import[0].version == to_onnx.OPSET and 9 <= to_onnx.OPSET <= 25
    kinds = {v.name: onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in [*model.graph.input, *model.graph.output]}
    planes = dict.fromkeys(("y", "uv", "near", "clean_y", "clean_uv"), "UINT16")
    assert kinds == {**planes, "peak": "FLOAT", "mask": "UINT8"}


def test_graphs_hold_no_path_of_the_machine_that_made_them(graphs: Path) -> None:
    root = str(Path(to_onnx.__file__).parents[1]).encode()
    assert not [path.name for folder in (graphs, manifest.GRAPHS) for path in folder.glob("*.onnx") if root in path.read_bytes()]
    assert not [path.name for path in manifest.GRAPHS.glob("*.onnx") if b"subnet.py" in path.read_bytes()]


@pytest.mark.parametrize(("exact", "kind"), [(True, "FLOAT16"), (False, "FLOAT")])
def test_weights_that_float16_holds_are_packed_and_give_the_same_numbers(exact: bool, kind: str) -> None:
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float16).astype(np.float32) * (1 if exact else np.pi)
    nodes = [onnx.helper.make_node("MatMul", ["x", "weights"], ["y"])]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [8, 64]) for name in "xy")
    graph = onnx.helper.make_graph(nodes, "product", [x], [y], [onnx.numpy_helper.from_array(weights.astype(np.float32), "weights")])
    plain = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    small = packed(plain)
    assert onnx.TensorProto.DataType.Name(onnx.load_from_string(small).graph.initializer[0].data_type) == kind
    sessions = [onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]) for data in (plain, small)]
    given = {"x": np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)}
    assert np.array_equal(*(session.run(None, given)[0] for session in sessions))


def test_low_precisions_are_in_the_graph_itself(graphs: Path) -> None:
    assert types((graphs / "fast_light_u8_fp16.onnx").read_bytes())["float16"] > 20
    kinds = {node.op_type for node in onnx.load(graphs / "fast_light_u8_int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    whole, *low = ((graphs / f"fast_light_u8{end}.onnx").stat().st_size for end in ("", "_fp16", "_int8"))
    assert max(low) < 0.6 * whole


def test_a_graph_that_differs_from_its_hash_is_refused(graphs: Path, tmp_path: Path) -> None:
    data = bytearray((graphs / "fast_light_u8.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "fast_light_u8.onnx").write_bytes(data)
    (tmp_path / manifest.FILE).write_bytes((graphs / manifest.FILE).read_bytes())
    with pytest.raises(GraphError, match=r"differs from its SHA-256 in manifest.json; export it again with 'derain-export onnx"):
        manifest.content(tmp_path, Graph("fast", "light", "u8"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"graphs": 3}'])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.FILE).write_text(text)
    with pytest.raises(GraphError, match="damaged manifest"):
        manifest.read(tmp_path)


def test_a_graph_that_computes_something_else_is_not_kept(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("fast", "light", "u8")
    data = to_onnx.convert(module(graph, weights), graph)
    model = onnx.load_from_string(data)
    (head,) = [tensor for tensor in model.graph.initializer if tensor.name == "net.head.weight"]
    head.raw_data = bytes(np.frombuffer(head.raw_data, np.float32) * np.float32(1.1))
    monkeypatch.setattr(to_onnx, "convert", lambda *_: model.SerializeToString())
    with pytest.raises(ParityError, match=r"fp32 is to keep at most 1; it was not kept"):
        list(to_onnx.export(module(graph, weights), [graph], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_parity_of_known_errors() -> None:
    a, b = np.zeros((4, 4), np.uint8), np.full((4, 4), 2, np.uint8)
    found = parity.between([(a, b), (a, a)], 255)
    assert (found.most, found.mean) == (2, 1.0) and found.psnr == pytest.approx(10 * np.log10(255**2 / 2))
    assert parity.between([(a, a)], 255).psnr == parity.EQUAL_DB
    assert not parity.fits(parity.Parity(2, 0.001, 90.0), "fp32") and parity.fits(parity.Parity(9, 0.5, 50.1), "fp16")


@pytest.mark.parametrize("peak", [255, 1023])
def test_footage_is_read_as_padded_planes(clip: Path, peak: int) -> None:
    frames = footage(clip, 3, peak)
    assert len(frames) == 3 and {frame.y.shape for frame in frames} == {(1, 1, 120, 152)}
    assert frames[0].y.dtype == (np.uint8 if peak == 255 else np.uint16) and peak // 2 < frames[0].y.max() <= peak


def test_check_prints_every_runtime_and_precision(
    graphs: Path, weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derain_video.export.check.NETWORKS", ("light",))
    monkeypatch.setattr(cli, "FRAMES", 2)
    report = tmp_path / "check.json"
    options = ["check", "--graphs", str(graphs), "--weights", str(weights), "--frames", str(clip), "--json", str(report)]
    assert cli.main(options) == 0
    rows = json.loads(report.read_text())
    assert [(row["runtime"], row["precision"]) for row in rows] == CASES
    ran = {row["runtime"]: row for row in rows if row["parity"]}
    assert {"torch", "onnx"} <= set(ran) and all(row["parity"]["psnr"] >= 42 for row in ran.values())
    out = capsys.readouterr().out
    assert "onnx      fp16 " in out and out.count("  ok") == sum(bool(row["parity"]) for row in rows)
    assert cli.main([*options, "--runtime", "onnx", "--precision", "bf16"]) == 2  # it offers none
    assert "onnx in bf16: nothing could be compared" in capsys.readouterr().err


def test_the_edge_folder_runs_alone(weights: Path, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "edge"
    assert cli.main(["edge", str(folder), "--weights", str(weights), "--frames", str(clip)]) == 0
    patterns = json.loads((folder / "patterns.json").read_text())
    assert [*patterns] == ["clear", *RAINY] and all(len(p["embedding"]) == 128 and p["prompts"] for p in patterns.values())
    readme = (folder / "README.md").read_text()
    assert readme.count("trtexec --onnx=") == 1 + len(NETWORKS) and all((folder / name).is_file() for name in manifest.read(folder))
    for options in ([], ["--precision", "int8", "--moving"]):
        run_edge(folder, clip, *options)


def run_edge(folder: Path, clip: Path, *options: str) -> None:
    """As a device that has nothing but the folder."""
    clean = folder.parent / "clean.mp4"
    code = "import sys, runpy; sys.modules['derain_video'] = None; runpy.run_path('run.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, str(clip), str(clean), *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with av.open(str(clean)) as box, av.open(str(clip)) as given:
        times = [[float(frame.pts * frame.time_base) for frame in each.decode(video=0)] for each in (given, box)]
    assert len(times[1]) == 8 and times[1] == pytest.approx(times[0], abs=1e-3)


def test_the_edge_runner_takes_the_network_of_a_size_that_has_one(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "edge"
    folder.mkdir()
    for graph in (Graph(PERCEPTION), *(subnet("quality", name, "u8") for name in edge.patterns("quality"))):
        shutil.copy(manifest.GRAPHS / graph.file, folder)
    shutil.copy(edge.RUNNER, folder / "run.py")
    run_edge(folder, clip)
    absent, odd = tmp_path / "absent.mp4", tmp_path / "out.webm"
    for source, target, why in ((clip, clip, "is the input"), (absent, clip, "No such file"), (clip, odd, "does not support")):
        done = subprocess.run([sys.executable, "run.py", str(source), str(target)], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 2 and why in done.stderr and "Traceback" not in done.stderr
    run_edge(folder, clip)
    assert edge.readme("quality").count("trtexec --onnx=") == 3


def test_the_edge_runner_sees_as_the_program_does() -> None:
    spec = importlib.util.spec_from_file_location("edge_runner", edge.RUNNER)
    assert spec and spec.loader
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    assert (runner.PATTERNS, runner.SIDE, runner.MANY, runner.DRY) == (PATTERNS, SIDE, MANY, DRY)


def test_the_networks_that_ship_have_an_int8_form(tmp_path: Path) -> None:
    code = "import sys; from derain_video.export.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["onnx", "--precision", "int8", "--dtype", "u8", "--only", "perception", "heavy", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(manifest.read(tmp_path)) == {"perception_int8.onnx", "fast_heavy_u8_int8.onnx"}


def test_weights_that_are_none_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fast_heavy.safetensors").write_bytes(b"0" * 99)
    store.save(tmp_path / "fast_light.safetensors", {"x": torch.zeros(1)}, {})
    for name, words in (("heavy", "is no whole file of weights"), ("light", "holds the weights of a network of another shape")):
        assert cli.main(["onnx", "--only", name, "--weights", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert f"fast_{name}.safetensors: {words}" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["onnx", "--weights", "no-such-folder"], "no-such-folder"),
        (["onnx", "--only", "light", "--weights", "no-such-folder"], "fast_light.safetensors: no weights there"),
        (["onnx", "--only", "perception", "--clip-pretrained", "no-such.pt"], "no-such.pt: no weights there"),
        (["check", "--json", "no-such-folder/c.json"], "no-such-folder/c.json: the folder is not there"),
        (["onnx", "--only", "generalist"], "--only generalist: size fast has no such network"),
        (["check", "--graphs", "no-such-folder"], "no-such-folder/manifest.json: no exported graphs there"),
        (["check", "--frames", "no-such-file.mp4"], "no-such-file.mp4: no frames could be read from it"),
        (["edge", "no-such-folder", "--frames", __file__], "test_runtimes.py: no frames could be read from it"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("derain-export: ") and words in error and error.count("\n") == 1


def test_the_network_of_stills_is_compared_on_frames_without_neighbours() -> None:
    frame = drawn(64, 128)
    assert frame.seen_by("heavy") is frame and not np.array_equal(frame.near[:, :1], frame.y)
    alone = frame.seen_by("still")
    assert alone.near.shape == frame.near.shape and np.array_equal(alone.near, np.broadcast_to(frame.y, frame.near.shape))
