"""Everything of the TensorRT runtime that needs no TensorRT: key, store, lock, rebuilding, profiles, and the names that are used."""

from __future__ import annotations

import ast
import errno
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import pytest

from derain_video.export import cache, tensorrt_api
from derain_video.export.edge import trtexec
from derain_video.export.engine import EngineKey, EngineStore, Timings
from derain_video.export.errors import GraphError
from derain_video.export.graph import PERCEPTION, Graph
from derain_video.export.lock import locked
from derain_video.export.profile import BUCKETS, Profile, profile

KEY = EngineKey("a" * 64, "1920x1080", "fp16", "NVIDIA H200", "9.0", "11.4.0", "580.65.06")
EXPORT = Path(tensorrt_api.__file__).parent


class Builds:
    """Stands for the builder and the loader, and counts: bytes that start with GOOD load."""

    def __init__(self) -> None:
        self.built = 0

    def build(self) -> bytes:
        self.built += 1
        return b"GOOD %d" % self.built

    @staticmethod
    def load(data: bytes) -> str | None:
        return data.decode() if data.startswith(b"GOOD") else None

    def open(self, folder: Path, key: EngineKey = KEY) -> str:
        return EngineStore(folder).open(key, self.build, self.load)


@pytest.mark.parametrize("field", [field.name for field in fields(EngineKey)])
def test_every_part_of_the_key_counts(field: str) -> None:
    assert replace(KEY, **{field: "other"}).digest != KEY.digest == replace(KEY).digest


def test_an_engine_is_built_once_and_then_loaded(tmp_path: Path) -> None:
    builds = Builds()
    assert [builds.open(tmp_path) for _ in range(3)] == ["GOOD 1"] * 3
    assert builds.open(tmp_path, replace(KEY, driver="581.0")) == "GOOD 2"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("data", [b"", b"GOOD 1 and more", b"BAD"])
def test_a_damaged_engine_is_built_again(tmp_path: Path, data: bytes) -> None:
    builds = Builds()
    builds.open(tmp_path)
    (tmp_path / KEY.digest / "engine.plan").write_bytes(data)
    assert (builds.open(tmp_path), builds.open(tmp_path)) == ("GOOD 2", "GOOD 2")


def test_an_engine_with_a_damaged_note_is_built_again(tmp_path: Path) -> None:
    builds = Builds()
    builds.open(tmp_path)
    (tmp_path / KEY.digest / "engine.json").write_text("{")
    assert builds.open(tmp_path) == "GOOD 2"


def test_a_fresh_engine_that_does_not_load_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not load the engine that it built"):
        EngineStore(tmp_path).open(KEY, lambda: b"BAD", Builds.load)
    assert not list(tmp_path.rglob("engine.*"))


def test_an_engine_that_cannot_be_stored_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert Builds().open(tmp_path) == "GOOD 1"
    assert "engine.plan: not kept (No space left on device); set DERAIN_VIDEO_CACHE to another folder" in caplog.messages[-1]
    assert not list(tmp_path.rglob("engine*"))


def test_where_files_cannot_be_locked_no_process_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(GraphError, match=r"cannot keep engines there .No locks available.; set DERAIN_VIDEO_CACHE"):
        Builds().open(tmp_path)


def test_timings_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    timings = Timings(tmp_path / "timings.cache")
    assert timings.read() == b""
    timings.write(b"twelve")
    assert timings.read() == b"twelve"
    timings.path.write_bytes(timings.path.read_bytes()[:-1])
    assert timings.read() == b""


def test_timings_of_several_builds_at_once_stay_whole(tmp_path: Path) -> None:
    timings = Timings(tmp_path / "timings.cache")
    timings.write(b"0" * 4096)

    def work(digit: int) -> set[bytes]:
        seen = set()
        for _ in range(100):
            timings.write(b"%d" % digit * 4096)
            seen.add(timings.read()[:1])
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert b"" not in set().union(*pool.map(work, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["timings.cache"]


def test_one_process_waits_for_the_other(tmp_path: Path) -> None:
    code = f"import time, pathlib\nfrom derain_video.export.lock import locked\nwith locked(pathlib.Path({str(tmp_path / 'lock')!r})):\n"
    code += " print('held', flush=True)\n time.sleep(0.6)"
    waited = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        start = time.monotonic()
        with locked(tmp_path / "lock", lambda: waited.append(True)):
            assert time.monotonic() - start > 0.2
    assert waited == [True]


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    code = f"import time, pathlib\nfrom derain_video.export.lock import locked\nwith locked(pathlib.Path({str(tmp_path / 'lock')!r})):\n"
    with subprocess.Popen([sys.executable, "-c", code + " print('held', flush=True)\n time.sleep(60)"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        holder.kill()
        with locked(tmp_path / "lock"):
            pass


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(8, 8, (360, 640)), (360, 640, (360, 640)), (360, 648, (576, 1024)), (1080, 1920, (1080, 1920)), (1920, 1080, (1920, 1080)),
     (2160, 3840, (2160, 3840)), (4320, 7680, (4320, 7680))],
)  # fmt: skip
def test_the_smallest_bucket_that_holds_a_frame_is_taken(height: int, width: int, wanted: tuple[int, int]) -> None:
    assert profile(Graph("fast", "light", "i32"), height, width) == Profile(*wanted)
    assert profile(Graph(PERCEPTION), height, width) == Profile(224, 224), "one for all"


def test_ranges_of_a_profile() -> None:
    ranges = Profile(1080, 1920).ranges(Graph("fast", "light", "i32"))
    assert ranges["y"] == ((1, 1, 8, 8), (1, 1, 1080, 1920), (1, 1, 1080, 1920))
    assert ranges["uv"] == ((1, 2, 4, 4), (1, 2, 540, 960), (1, 2, 540, 960))
    assert ranges["near"][1] == (1, 4, 1080, 1920) and ranges["peak"] == ((1,),) * 3
    assert Profile(360, 640).ranges(Graph(PERCEPTION)) == {"views": ((1, 3, 224, 224), (5, 3, 224, 224), (5, 3, 224, 224))}
    assert all(height % 8 == 0 and width % 8 == 0 for height, width in BUCKETS)


def test_the_trtexec_line_names_every_input() -> None:
    line = trtexec(Graph("fast", "light", "i32", "fp16"), Profile(360, 640))
    assert line.startswith("trtexec --onnx=fast_light_i32_fp16.onnx --saveEngine=fast_light_i32_fp16.engine ")
    assert "--optShapes=y:1x1x360x640,uv:1x2x180x320,near:1x4x360x640,peak:1 " in line


def test_the_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    assert cache.folder() == tmp_path
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.folder().name == "derain-video"


OTHERS = {
    # Attributes in the two files that belong to Python, numpy, torch, tqdm or this package.
    *("__init__", "__version__", "items", "values", "shape", "dtype", "file", "inputs", "outputs", "network", "precision", "read_bytes"),
    *("is_file", "ranges", "pop", "update", "close", "folder", "open", "stream", "engine", "clear", "get", "desc"),
    *("float32", "int32", "uint8", "cuda", "is_available", "Stream", "get_device_capability", "get_device_name", "current_stream", "cuda_stream"),
    *("replace", "endswith", "read", "write"),
    *("empty", "empty_like", "from_numpy", "data_ptr", "copy_", "to", "format", "GRAPHS", "content", "sha256", "driver"),
}


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}


def test_every_name_of_tensorrt_in_the_code_is_in_the_checked_list_and_the_other_way_round() -> None:
    files = [EXPORT / "to_tensorrt.py", EXPORT / "runtime" / "tensorrt_.py"]
    used = {name for path in files for name in attributes(path) if not name.startswith("_") or name in OTHERS}
    listed = {name for names in tensorrt_api.NAMES.values() for name in names}
    callbacks = set(tensorrt_api.NAMES["IProgressMonitor"])  # defined by us, called by TensorRT
    assert used - listed - OTHERS == set()
    assert listed - callbacks - used == set()


def test_the_check_of_a_wheel_finds_what_is_missing(tmp_path: Path) -> None:
    names = {name for owner, names in tensorrt_api.NAMES.items() for name in (owner, *names) if name}
    wheel = tmp_path / "bindings.whl"
    with zipfile.ZipFile(wheel, "w") as box:
        box.writestr("tensorrt_bindings/tensorrt.so", b"\0".join(n.encode() for n in names if n != "execute_async_v3") + b"\0")
    assert tensorrt_api.missing(tensorrt_api.extension(wheel)) == ["execute_async_v3"]
