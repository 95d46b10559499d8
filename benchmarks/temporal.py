"""What temporal state is worth: the same network with less of it, otherwise aligned, or with its own output fed back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np

from ..export.runtime.base import Runtime
from ..models.align import Flow, Look, Seen, darker, near, sight
from ..models.planes import pad
from ..pipeline.chroma import split
from ..pipeline.derain import BEYOND, Ready, network, restored, thumbnails
from . import metrics
from .footage import Clip
from .kinds import Kind, render
from .methods import frames

FAST = 4.0
"""Pixels per frame, in the mean over a frame, from which a moving camera counts as fast."""


class Still(Look):
    """Of a frame that is laid on others as it is."""

    def estimate(self, other: Look, later: bool) -> Flow | None:
        return None


class Panned(Look):
    """Of a frame whose motion is one shift, turn and zoom for the whole picture, from tracked corners."""

    def estimate(self, other: Look, later: bool) -> Flow | None:
        corners = cv2.goodFeaturesToTrack(self.thumb, 200, 0.01, 5)
        if corners is None:
            return None
        moved, found, _ = cv2.calcOpticalFlowPyrLK(self.thumb, other.thumb, corners, None)  # type: ignore[call-overload]
        kept = found[:, 0] == 1
        if kept.sum() < 8:
            return None
        turn, _ = cv2.estimateAffinePartial2D(corners[kept], moved[kept], ransacReprojThreshold=1.0)
        return None if turn is None else _field(turn, self.thumb.shape)


def _field(turn: Flow, shape: tuple[int, ...]) -> Flow:
    """The flow (H, W, 2) that an affine (2, 3) matrix makes of every pixel."""
    rows, columns = np.indices(shape[:2], np.float32)
    places = np.stack([columns, rows, np.ones_like(rows)], -1) @ turn.T.astype(np.float32)
    return np.ascontiguousarray(places - np.stack([columns, rows], -1), np.float32)


@dataclass(frozen=True)
class State:
    """A kind of state. before, after: frames of the window; motion: how they are aligned.

    fed: past frames are the clean output, not the input. routed: windows of the past go to the sub-network for them, not to that of files.
    """

    name: str
    before: int = 0
    after: int = 0
    motion: type[Look] = Look
    fed: bool = False
    routed: bool = True


STATES = (
    State("none"),
    State("2 past, unaligned", 2, 0, Still),
    State("2 past, global", 2, 0, Panned),
    State("2 past, flow", 2, 0),
    State("4 past, unaligned", 4, 0, Still),
    State("4 past, global", 4, 0, Panned),
    State("4 past, flow", 4, 0),
    State("4 past, flow, not routed", 4, 0, routed=False),
    State("4 clean past, unaligned", 4, 0, Still, fed=True),
    State("4 clean past, global", 4, 0, Panned, fed=True),
    State("4 clean past, flow", 4, 0, fed=True),
    State("3 past, 1 ahead, flow", 3, 1),
    State("2 past, 2 ahead, unaligned", 2, 2, Still),
    State("2 past, 2 ahead, global", 2, 2, Panned),
    State("2 past, 2 ahead, flow", 2, 2),
    State("3 past, 3 ahead, flow", 3, 3),
)
"""No state; windows of the past, as a live stream has them, by its network and by that of files; output fed back; look-ahead, which files allow.
The last is what files get."""


@dataclass(frozen=True)
class Row:
    """One state on one clip: gain of PSNR-Y over the input in dB, temporal error in code values, milliseconds per megapixel to make the state."""

    state: str
    kind: str
    clip: str
    camera: str
    gain: float
    temporal: float
    cost: float


def measure(kinds: Sequence[Kind], clips: Sequence[Clip], runtime: Runtime, pattern: str) -> Iterator[list[Row]]:
    """Every state on each kind over each clip, by the network of one pattern."""
    for clip in clips:
        camera = clip.camera if clip.camera == "static" else "slow" if speed(clip) < FAST else "fast"
        for kind in kinds:
            seen, truth = render(kind, clip)
            yield [_row(state, kind.name, replace(truth, camera=camera), seen, runtime, pattern) for state in STATES]


def speed(clip: Clip) -> float:
    """Motion in pixels per frame: over a frame its mean, over the clip the median."""
    seen = [Seen(plane) for plane in clip.y]
    flows = [now.rainy.flow_to(then.rainy, later=True) for now, then in zip(seen, seen[1:], strict=False)]
    return float(seen[0].scale * np.median([0.0 if flow is None else np.hypot(flow[..., 0], flow[..., 1]).mean() for flow in flows] or [0.0]))


def _row(state: State, kind: str, truth: Clip, seen: Clip, runtime: Runtime, pattern: str) -> Row:
    out, cost = derained(seen, state, runtime, pattern)
    gains = [metrics.psnr(o, g) - metrics.psnr(s, g) for o, s, g in zip(out, seen.y, truth.y, strict=True)]
    steps = [metrics.temporal_error(out[t], out[t - 1], truth.y[t], truth.y[t - 1]) for t in range(1, len(out))]
    return Row(state.name, kind, truth.name, truth.camera, float(np.mean(gains)), float(np.mean(steps)), cost)


def derained(clip: Clip, state: State, runtime: Runtime, pattern: str) -> tuple[list[Flow], float]:
    """Clean luma of every frame, and the milliseconds per megapixel that its state took."""
    out: list[Flow] = []
    kept: dict[int, Seen] = {}
    spent = 0.0
    live = state.routed and not state.after
    derain = darker if state.motion is Still else thumbnails(runtime, pattern, live)  # nothing is seen on thumbnails where nothing is aligned
    before, after = (count and count + BEYOND for count in (state.before, state.after))
    for t, frame in enumerate(frames(clip)):
        started = time.perf_counter()
        first, last = max(0, t - before), min(len(clip), t + after + 1)
        for k in range(first, last):
            kept.setdefault(k, Seen(clip.y[k], derain=derain, look=state.motion, sight=sight(runtime.model)))
        planes = near([kept[k] for k in range(first, last)], t - first, state.before, state.after)
        spent += time.perf_counter() - started
        y, uv = split(frame)
        seen = y, uv
        chosen = network(pattern, last - first - 1, live)
        clean = restored(Ready(frame, t, seen, seen, pad(y, uv, planes), chosen), runtime)
        out.append(np.asarray(clean.planes[0]))
        if state.fed:
            kept[t] = Seen(out[t], derain=thumbnails(runtime, "clear", live), look=state.motion, sight=sight(runtime.model))
        kept.pop(first - 1, None)
    return out, 1e9 * spent / clip.y.size


def table(found: Sequence[Row]) -> str:
    """Means over clips and kinds, all and by the camera's motion."""
    cameras = [name for name in ("static", "slow", "fast") if any(row.camera == name for row in found)]
    lines = [f"{'state':<28}{'gain':>7}" + "".join(f"{name:>8}" for name in cameras) + f"{'temp.':>8}{'ms/Mpx':>8}"]
    for state in dict.fromkeys(row.state for row in found):
        mine = [row for row in found if row.state == state]
        parts = [[row.gain for row in mine if row.camera == camera] for camera in cameras]
        figures = "".join(f"{np.mean(part):+8.2f}" for part in parts)
        gain, temporal, cost = np.mean([(row.gain, row.temporal, row.cost) for row in mine], axis=0)
        lines.append(f"{state:<28}{gain:+7.2f}{figures}{temporal:8.2f}{cost:8.1f}")
    return "\n".join(lines)


def as_json(found: Sequence[Row]) -> dict[str, object]:
    return {"temporal": [asdict(row) for row in found]}
