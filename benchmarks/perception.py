"""What perception decides, frame by frame, on validation rain and on dry footage that looks like rain: a confusion matrix and two rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..models.spec import PATTERNS, routed
from ..models.views import look
from ..pipeline.route import Perceiver
from .footage import Clip
from .kinds import KINDS, Kind, render
from .lookalikes import LOOKALIKES, shown

SEEN = 0.06
"""Opacity from which rain counts as seen."""

DENSE = 0.11
"""Share of pixels under visible rain from which it is heavy; the heavy rain that training renders covers a tenth and more."""


@dataclass(frozen=True)
class Look:
    """One clip in one weather. truth: its pattern; decided: frames by the pattern that they are routed to."""

    weather: str
    clip: str
    truth: str
    decided: Mapping[str, int]


def measure(clips: Sequence[Clip], perceiver: Perceiver) -> Iterator[Look]:
    """Every clip in every kind of weather and as every lookalike; each frame is looked at alone, without cache or hysteresis."""
    for weather in weathers():
        name = weather if isinstance(weather, str) else weather.name
        for clip in clips:
            truth = "clear" if isinstance(weather, str) else pattern(weather, clip)
            yield Look(name, clip.name, truth, decided(shown(weather, clip), perceiver))


def weathers() -> list[Kind | str]:
    return [*KINDS, *LOOKALIKES]


def decided(clip: Clip, perceiver: Perceiver) -> dict[str, int]:
    """Frames of a clip by pattern."""
    return dict(Counter(routed(look(perceiver.perceive, y, uv)) for y, uv in zip(clip.y, clip.uv, strict=True)))


def pattern(kind: Kind, clip: Clip) -> str:
    """The pattern that a kind makes of a clip: by its veil, else by the share of pixels under visible rain, before any compression."""
    if kind.dry or kind.veil:
        return "clear" if kind.dry else "downpour"
    seen, truth = render(replace(kind, crf=0), clip)
    opacity = (seen.y.astype(np.float32) - truth.y) / np.maximum(8, 235 - truth.y.astype(np.float32))
    return "heavy" if float((opacity > SEEN).mean()) > DENSE else "light"


def matrix(looks: Sequence[Look]) -> dict[str, dict[str, int]]:
    """Frames by true pattern and by decided one."""
    return {truth: counted([look for look in looks if look.truth == truth]) for truth in PATTERNS}


def counted(looks: Sequence[Look]) -> dict[str, int]:
    return {name: sum(look.decided.get(name, 0) for look in looks) for name in PATTERNS}


def missed(looks: Sequence[Look]) -> float:
    """Share of the frames with rain that pass as clear, 0..1."""
    return _share(counted([look for look in looks if look.truth != "clear"]), ["clear"])


def derained(looks: Sequence[Look]) -> float:
    """Share of the dry frames that a network is sent to, 0..1."""
    return _share(counted([look for look in looks if look.truth == "clear"]), PATTERNS[1:])


def _share(counts: Mapping[str, int], names: Sequence[str]) -> float:
    return sum(counts[name] for name in names) / max(1, sum(counts.values()))


def table(looks: Sequence[Look]) -> str:
    """The matrix, the decisions in each weather, and the two rates."""
    head = "".join(f"{name:>10}" for name in PATTERNS)
    grid = [f"{truth:<14}" + "".join(f"{counts[name]:10d}" for name in PATTERNS) for truth, counts in matrix(looks).items()]
    names = list(dict.fromkeys(look.weather for look in looks))
    kinds = [_line(name, [look for look in looks if look.weather == name]) for name in names]
    rates = f"rain passed as clear: {missed(looks):.1%} of its frames; dry scenes sent to a network: {derained(looks):.1%} of theirs"
    return "\n".join([f"{'true/decided':<14}{head}", *grid, "", f"{'weather':<14}{head}  true", *kinds, "", rates])


def _line(name: str, looks: Sequence[Look]) -> str:
    counts, truths = counted(looks), Counter(look.truth for look in looks)
    shares = "".join(f"{_share(counts, [pattern]):10.0%}" for pattern in PATTERNS)
    return f"{name:<14}{shares}  " + " ".join(f"{truth} {count}" for truth, count in truths.most_common())


def as_json(looks: Sequence[Look]) -> dict[str, Any]:
    rates = {"missed_rain": missed(looks), "dry_derained": derained(looks)}
    return {"matrix": matrix(looks), **rates, "looks": [asdict(look) for look in looks]}
