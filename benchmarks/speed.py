"""Speed of the whole program and of its parts, on the same frames, in one run.

The program runs as a user runs it, in a process of its own. It runs twice, on SHORT frames and on many: the difference between the two
is the steady pace, which start-up does not blur, and the short run without its further frames is the start-up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..export.runtime.base import Runtime
from ..export.runtime.threads import cores
from ..models.align import Seen, near
from ..models.planes import pad
from ..pipeline import tiles
from ..pipeline.derain import align, derain
from ..pipeline.frame import Frame
from ..pipeline.report import Report
from ..pipeline.run import aligners, side_by_side
from .footage import Clip, FootageError
from .methods import frames

COMMAND = """
import sys
from pathlib import Path
from derain_video.pipeline.cli import main
failed, own = main(), Path("/proc/self/status")
if not failed and own.exists():
    print(own.read_text(), file=sys.stderr)
raise SystemExit(failed)
"""
"""The program, which tells its own memory at the end where the kernel does: a child's, as its parent sees it, has the parent's in it."""

OWN_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

PATTERN = "heavy"
"""Sub-network that is timed; those of a size differ in their weights only."""

WARM_UP = 3

SHORT = 2
"""Frames of the short run: a single one would go to the network of stills, which takes twice as long."""


@dataclass(frozen=True)
class Run:
    """A finished process: seconds by the clock and of all cores together, and its largest memory in MiB (None where unknown)."""

    wall: float
    cpu: float
    peak: float | None


@dataclass(frozen=True)
class Pace:
    """A part of the work repeated on many frames: frames per second, CPU seconds per frame, milliseconds per frame."""

    fps: float
    cpu: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Speed:
    """One size with one runtime. Frames per second of decoding and encoding alone, of the network alone (no alignment), of the derain
    stage alone (alignment, padding, network) and of the whole; efficiency 0..1; start-up in seconds until a run of one
    frame would have ended; p50 and p99 of the derain stage in ms per frame; peak memory of the whole in MiB.
    """

    size: str
    frames: int
    runtime: str
    precision: str
    device: str
    codec_fps: float
    network_fps: float
    stage_fps: float
    whole_fps: float
    efficiency: float
    start_up: float
    p50: float
    p99: float
    peak: float | None
    peer_fps: float | None = None


def process(*arguments: str) -> Run:
    """Runs `derain-video` with arguments. OSError, with its own line, if it fails."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr
    said = child.stderr.read()
    status, cpu, peak = _ended(child)
    if status:
        raise OSError(f"derain-video {' '.join(arguments)}: {said.strip() or f'exit status {status}'}")
    own = OWN_PEAK.search(said)
    return Run(time.perf_counter() - start, cpu, int(own[1]) / 2**10 if own else peak)


def _ended(child: subprocess.Popen[str]) -> tuple[int, float, float | None]:
    """Exit status, CPU seconds and peak memory in MiB of a child."""
    if sys.platform == "win32":
        return child.wait(), 0.0, None
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return child.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def steady(short: Run, long: Run, count: int) -> tuple[float, float]:
    """Frames per second and CPU seconds per frame of a run of `count` frames, without a run of SHORT.

    FootageError if the long run took no longer than the short one: start-up, which varies, hides its frames.
    """
    if long.wall <= short.wall:
        raise FootageError(f"--frames: {count} frames at this size take no longer than start-up varies; give more")
    return (count - SHORT) / (long.wall - short.wall), max(0.0, long.cpu - short.cpu) / (count - SHORT)


def pace(work: Callable[[], Iterator[object]]) -> Pace:
    """Times each step of a generator of work; the first WARM_UP steps do not count."""
    steps, cpu = [], 0.0
    begin, used = time.perf_counter(), time.process_time()
    for index, _ in enumerate(work()):
        now, spent = time.perf_counter(), time.process_time()
        if index >= WARM_UP:
            steps.append(now - begin)
            cpu += spent - used
        begin, used = now, spent
    p50, p99 = (float(np.percentile(steps, share)) * 1e3 for share in (50, 99))
    return Pace(len(steps) / sum(steps), cpu / len(steps), p50, p99)


def network(runtime: Runtime, clip: Clip, count: int) -> Iterator[object]:
    """The sub-network alone, on one frame and its state again and again."""
    middle = len(clip) // 2
    window = [Seen(y) for y in clip.y[max(0, middle - 2) : middle + 3]]
    planes = pad(clip.y[middle], clip.uv[middle], near(window, len(window) // 2))
    for _ in range(count + WARM_UP):
        yield tiles.derain(runtime, PATTERN, *planes, 255)


def stage(runtime: Runtime, clip: Clip, count: int) -> Iterator[object]:
    """The derain stage alone, on the clip's frames over and over."""
    return derain(_routed(clip, count), runtime, Report())


def alignment(runtime: Runtime, clip: Clip, count: int) -> Iterator[object]:
    """The part of the derain stage that the program runs beside the network, on as many frames at once."""
    return align(_routed(clip, count), runtime, Report(), workers=aligners())


def _routed(clip: Clip, count: int) -> Iterator[Frame]:
    routed = [frame.replace(pattern=PATTERN) for frame in frames(clip)]
    return (routed[i % len(routed)] for i in range(count + WARM_UP))


def efficiency(device: str, whole: float, codec: tuple[float, float], derained: Pace, slowest: float) -> float:
    """How near the whole comes to what its parts allow, 0..1.

    On a GPU: the slowest part alone against the whole. On CPUs, whose cores all parts share: CPU seconds of the parts over cores against
    the whole. codec: frames per second and CPU seconds per frame of decoding and encoding. slowest: frames per second of the network or
    of alignment, whichever has less: the program runs them side by side.
    """
    if device != "cpu":
        return whole / min(codec[0], slowest)
    return whole * (codec[1] + derained.cpu) / cores()


def measure(size: str, clip: Clip, video: Path, first: Path, count: int, runtime: Runtime, options: Sequence[str]) -> Speed:
    """One size with one runtime. video: `count` frames at that size; first: SHORT frames of it; options: for derain-video."""

    def run(path: Path, pattern: str) -> Run:
        out = path.with_name("out.mp4")
        out.unlink(missing_ok=True)
        return process(str(path), str(out), "--pattern", pattern, *options)

    short, long = run(first, PATTERN), run(video, PATTERN)
    codec = steady(run(first, "clear"), run(video, "clear"), count)
    with side_by_side():
        alone, derained = pace(lambda: network(runtime, clip, count)), pace(lambda: stage(runtime, clip, count))
        slowest = min(alone.fps, pace(lambda: alignment(runtime, clip, count)).fps)
    whole, _ = steady(short, long, count)
    return Speed(
        size=size,
        frames=count,
        runtime=runtime.name,
        precision=runtime.precision,
        device=runtime.device,
        codec_fps=codec[0],
        network_fps=alone.fps,
        stage_fps=derained.fps,
        whole_fps=whole,
        efficiency=efficiency(runtime.device, whole, codec, derained, slowest),
        start_up=short.wall - (SHORT - 1) / whole,
        p50=derained.p50,
        p99=derained.p99,
        peak=long.peak,
    )


HEAD = ("size", "runtime", "codec", "network", "stage", "whole", "effic.", "start s", "p50 ms", "p99 ms", "MiB", "peer")


def table(rows: Sequence[Speed]) -> str:
    """Frames per second of decode+encode, network, derain stage, whole, and of the peer network; then the rest."""
    lines = [[r.size, f"{r.runtime} {r.precision}", *map(_short, _figures(r))] for r in rows]
    return "\n".join(f"{line[0]:<7}{line[1]:<15}" + "".join(f"{cell:>9}" for cell in line[2:]) for line in [list(HEAD), *lines])


def _figures(r: Speed) -> tuple[float | None, ...]:
    paces = (r.codec_fps, r.network_fps, r.stage_fps, r.whole_fps)
    return (*paces, r.efficiency, r.start_up, r.p50, r.p99, r.peak, r.peer_fps)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def as_json(rows: Sequence[Speed]) -> dict[str, Any]:
    return {"cores": cores(), "speed": [asdict(row) for row in rows]}
