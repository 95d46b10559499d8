"""The cached, hysteretic routing against routing that looks at every frame: hits, agreement, switches, on takes and on clips joined at random;
and what it costs beside deraining."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..export.runtime.base import Runtime
from ..models.spec import PATTERNS
from ..pipeline.derain import derain
from ..pipeline.report import Report
from ..pipeline.route import Perceiver, Routing, route
from .footage import Bytes, Clip, resized, to_and_fro
from .kinds import KINDS, render
from .methods import frames

SIZE = (640, 360)
"""Width and height that all clips are brought to, before the rain, so that they can be joined."""

FADE = 12
"""Frames over which one clip becomes the next where there are no cuts."""

TAKE = 250
"""Frames of a take: a clip played forth and back."""


@dataclass(frozen=True)
class Joined:
    """Routing of long clips. hit_rate, agreement, on_rain (on whether it rains at all): shares of its frames, 0..1; perceive_ms: mean per frame,
    with the cache."""

    joins: str
    frames: int
    minutes: float
    hit_rate: float
    agreement: float
    on_rain: float
    switches_per_minute: float
    switches_per_minute_uncached: float
    cuts: int
    perceive_ms: float
    perceive_ms_uncached: float


def measure(clips: Sequence[Clip], perceiver: Perceiver, seed: int = 0) -> list[Joined]:
    """The clips, each under a kind of weather drawn for it, as takes of their own, joined by cuts, and joined by fades."""
    order = shuffled(clips, seed)
    ways = {"none": [_take(clip) for clip in order], "cuts": [joined(order, 0)], "fades": [joined(order, FADE)]}
    return [_routed(name, those, perceiver) for name, those in ways.items()]


def share(clips: Sequence[Clip], runtime: Runtime, seed: int = 0) -> float:
    """Routing's part of the processor time, 0..1, that routing and deraining take together on takes of the clips, each in rain drawn for it."""
    draw, routing, all_of_it = random.Random(seed), 0.0, 0.0
    rain = [kind for kind in KINDS if not kind.dry]
    for clip in clips:
        seen = _take(render(draw.choice(rain), resized(clip, SIZE))[0])
        begin = time.process_time()
        routed = list(route(iter(frames(seen)), runtime, Report()))
        routing += time.process_time() - begin
        deque(derain(iter(routed), runtime, Report()), maxlen=0)
        all_of_it += time.process_time() - begin
    return routing / all_of_it


def shuffled(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """Every clip twice, in dry weather and in rain, in random order, at SIZE."""
    draw = random.Random(seed)
    rain, dry = ([kind for kind in KINDS if kind.dry is wanted] for wanted in (False, True))
    seen = [render(draw.choice(kinds), resized(clip, SIZE))[0] for clip in clips for kinds in (rain, dry)]
    draw.shuffle(seen)
    return seen


def _take(clip: Clip) -> Clip:
    return clip.at(to_and_fro(len(clip), TAKE))


def joined(clips: Sequence[Clip], fade: int) -> Clip:
    """One clip of all; each fades into the next over `fade` frames (0: cuts). At the pace of the first."""
    y, uv = clips[0].y, clips[0].uv
    for clip in clips[1:]:
        y, uv = _faded(y, clip.y, fade), _faded(uv, clip.uv, fade)
    return replace(clips[0], name="joined", y=y, uv=uv)


def _faded(first: Bytes, second: Bytes, count: int) -> Bytes:
    count = min(count, len(first), len(second) // 2)
    share = (np.arange(1, count + 1) / (count + 1)).reshape(-1, *[1] * (first.ndim - 1))
    middle = first[len(first) - count :] * (1 - share) + second[:count] * share
    return np.concatenate([first[: len(first) - count], middle.round().astype(np.uint8), second[count:]])


def _routed(name: str, clips: Sequence[Clip], perceiver: Perceiver) -> Joined:
    cached, every = Report(), Report()
    ours = [frame.pattern for clip in clips for frame in route(iter(frames(clip)), perceiver, cached)]
    looked = [frame.pattern for clip in clips for frame in route(iter(frames(clip)), perceiver, every, limits=Routing(oldest=0))]
    minutes = sum(len(clip) / clip.fps for clip in clips) / 60
    return Joined(
        joins=name,
        frames=len(ours),
        minutes=minutes,
        hit_rate=cached.hits / len(ours),
        agreement=float(np.mean([a == b for a, b in zip(ours, looked, strict=True)])),
        on_rain=float(np.mean([(a == PATTERNS[0]) == (b == PATTERNS[0]) for a, b in zip(ours, looked, strict=True)])),
        switches_per_minute=cached.switches / minutes,
        switches_per_minute_uncached=every.switches / minutes,
        cuts=cached.cuts,
        perceive_ms=1e3 * cached.seconds["perceive"] / len(ours),
        perceive_ms_uncached=1e3 * every.seconds["perceive"] / len(ours),
    )


def table(results: Sequence[Joined]) -> str:
    counts = f"{'switches/min':>14}{'uncached':>10}{'cuts':>6}{'ms/frame':>10}{'uncached':>10}"
    return "\n".join([f"{'joins':<8}{'frames':>7}{'hits':>8}{'agree':>8}{'on rain':>9}{counts}", *map(_line, results)])


def _line(result: Joined) -> str:
    r = result
    switches = f"{r.switches_per_minute:14.1f}{r.switches_per_minute_uncached:10.1f}{r.cuts:6d}"
    shares = f"{r.hit_rate:8.1%}{r.agreement:8.1%}{r.on_rain:9.1%}"
    return f"{r.joins:<8}{r.frames:7d}{shares}{switches}{r.perceive_ms:10.2f}{r.perceive_ms_uncached:10.2f}"


def as_json(results: Sequence[Joined], cost: float) -> dict[str, Any]:
    return {"routing": [asdict(result) for result in results], "share_in_rain": cost}
