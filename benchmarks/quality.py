"""Quality of deraining on rain that training never rendered, for every method in one run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from . import metrics
from .footage import Clip
from .kinds import Kind, render
from .methods import Method, Result

CAMERAS = ("static", "moving", "still")


@dataclass(frozen=True)
class Row:
    """What one method made of one clip under one kind of weather; means over its frames.

    psnr, of luma, and chroma, of both its planes: in dB; ssim -1..1; temporal: error of the change from frame to frame in code
    values, None for a still; detail: share of the truth's fine detail kept; changed: share of luma pixels that differ from the input;
    harm: PSNR to the input in dB.
    """

    kind: str
    clip: str
    camera: str
    method: str
    psnr: float
    chroma: float
    ssim: float
    temporal: float | None
    detail: float
    changed: float
    harm: float
    patterns: Mapping[str, int]


def rows(kinds: Sequence[Kind], clips: Sequence[Clip], methods: Mapping[str, Method]) -> Iterator[list[Row]]:
    """The rows of all methods for each (kind, clip), as they are done."""
    for kind in kinds:
        for clip in clips:
            seen, truth = render(kind, clip)
            yield [_row(kind.name, name, method(seen), seen, truth) for name, method in methods.items()]


def _row(kind: str, method: str, result: Result, seen: Clip, truth: Clip) -> Row:
    out = result.clip
    steps = [metrics.temporal_error(out.y[t], out.y[t - 1], truth.y[t], truth.y[t - 1]) for t in range(1, len(out))]
    return Row(
        kind=kind,
        clip=truth.name,
        camera=truth.camera,
        method=method,
        psnr=_mean(metrics.psnr(o, g) for o, g in zip(out.y, truth.y, strict=True)),
        chroma=_mean(metrics.psnr(o, g) for o, g in zip(out.uv, truth.uv, strict=True)),
        ssim=_mean(metrics.ssim(o, g) for o, g in zip(out.y, truth.y, strict=True)),
        temporal=_mean(steps) if steps else None,
        detail=_mean(metrics.detail_kept(o, g) for o, g in zip(out.y, truth.y, strict=True)),
        changed=float(np.mean(out.y != seen.y)),
        harm=_mean(metrics.psnr(o, s) for o, s in zip(out.y, seen.y, strict=True)),
        patterns=dict(Counter(result.patterns)),
    )


@dataclass(frozen=True)
class Summary:
    """Means of one method over the clips of one kind; gain in dB over the input, with the clip that gained least, and that of chroma."""

    kind: str
    method: str
    clips: int
    psnr: float
    gain: float
    worst_gain: float
    worst_clip: str
    chroma_gain: float
    ssim: float
    temporal: float | None
    detail: float
    changed: float
    harm: float
    worst_harm: float
    gain_by_camera: Mapping[str, float]
    patterns: Mapping[str, float]


def summary(kind: str, method: str, found: Sequence[Row]) -> Summary:
    """One kind's summary from the rows of all methods. Means are over clips (over stills, if there is nothing else); worst over all."""
    before = {row.clip: row for row in found if (row.kind, row.method) == (kind, "input")}
    every = [row for row in found if (row.kind, row.method) == (kind, method)]
    mine = [row for row in every if row.camera != "still"] or every
    gains = {row.clip: row.psnr - before[row.clip].psnr for row in every}
    worst = min(gains, key=lambda clip: gains[clip])
    counts = sum((Counter(row.patterns) for row in mine), Counter[str]())
    fields = ("psnr", "ssim", "detail", "changed", "harm")
    return Summary(
        kind=kind,
        method=method,
        clips=len(mine),
        gain=_mean(gains[row.clip] for row in mine),
        worst_gain=gains[worst],
        worst_clip=worst,
        chroma_gain=_mean(row.chroma - before[row.clip].chroma for row in mine),
        temporal=_mean_of_known(row.temporal for row in mine),
        worst_harm=min(row.harm for row in every),
        gain_by_camera={camera: _mean(gains[row.clip] for row in every if row.camera == camera) for camera in _cameras(every)},
        patterns={name: count / counts.total() for name, count in counts.items()},
        **{field: _mean(getattr(row, field) for row in mine) for field in fields},
    )


def _cameras(found: Sequence[Row]) -> list[str]:
    return [camera for camera in CAMERAS if any(row.camera == camera for row in found)]


def oracle(found: Sequence[Row], among: Sequence[str]) -> list[Row]:
    """For each kind and clip the row of the best of the methods `among`, as the method `oracle`: routing that knew the outcome."""
    best: dict[tuple[str, str], Row] = {}
    for row in found:
        key = (row.kind, row.clip)
        if row.method in among and (key not in best or row.psnr > best[key].psnr):
            best[key] = row
    return [replace(row, method="oracle") for row in best.values()]


def overall(method: str, parts: Sequence[Summary]) -> Summary:
    """The mean over kinds, each with the same weight; the worst of the worst."""
    mine = [part for part in parts if part.method == method]
    worst = min(mine, key=lambda part: part.worst_gain)
    cameras = [c for c in CAMERAS if all(c in part.gain_by_camera for part in mine)]
    names = sorted({name for part in mine for name in part.patterns})
    return Summary(
        kind="mean",
        method=method,
        clips=sum(part.clips for part in mine),
        worst_gain=worst.worst_gain,
        worst_clip=f"{worst.kind}/{worst.worst_clip}",
        temporal=_mean_of_known(part.temporal for part in mine),
        worst_harm=min(part.worst_harm for part in mine),
        gain_by_camera={c: _mean(part.gain_by_camera[c] for part in mine) for c in cameras},
        patterns={name: _mean(part.patterns.get(name, 0.0) for part in mine) for name in names},
        **{field: _mean(getattr(part, field) for part in mine) for field in ("psnr", "gain", "chroma_gain", "ssim", "detail", "changed", "harm")},
    )


def summaries(found: Sequence[Row], kinds: Sequence[Kind]) -> list[Summary]:
    """Per kind and method; after the kinds with rain, their mean."""
    methods = list(dict.fromkeys(row.method for row in found))
    wet = [summary(kind.name, method, found) for kind in kinds if not kind.dry for method in methods]
    dry = [summary(kind.name, method, found) for kind in kinds if kind.dry for method in methods]
    return wet + ([overall(method, wet) for method in methods] if wet else []) + dry


WET = f"{'rain':<12}{'method':<9}{'PSNR-Y':>7}{'gain':>7}{'worst':>7}{'chroma':>8}{'SSIM-Y':>8}{'temp.':>7}{'detail':>8}  by camera, patterns"
DRY = f"{'dry':<12}{'method':<9}{'to input':>9}{'worst':>7}{'changed':>9}  patterns"


def table(parts: Sequence[Summary], kinds: Sequence[Kind]) -> str:
    """The summaries as text: help under rain, harm in dry weather."""
    dry = {kind.name for kind in kinds if kind.dry}
    wet_lines = [_wet_line(part) for part in parts if part.kind not in dry]
    dry_lines = [_dry_line(part) for part in parts if part.kind in dry and part.method != "input"]
    blocks = [[head, *lines] for head, lines in ((WET, wet_lines), (DRY, dry_lines)) if lines]
    return "\n\n".join("\n".join(block) for block in blocks)


def _wet_line(part: Summary) -> str:
    temporal = "-" if part.temporal is None else f"{part.temporal:.2f}"
    cameras = " ".join(f"{name} {gain:+.2f}" for name, gain in part.gain_by_camera.items())
    figures = f"{part.psnr:7.2f}{part.gain:+7.2f}{part.worst_gain:+7.2f}{part.chroma_gain:+8.2f}{part.ssim:8.4f}{temporal:>7}{part.detail:8.3f}"
    return f"{part.kind:<12}{part.method:<9}{figures}  {cameras}  {_shares(part.patterns)}".rstrip()


def _dry_line(part: Summary) -> str:
    return f"{part.kind:<12}{part.method:<9}{part.harm:9.2f}{part.worst_harm:7.2f}{part.changed:9.3%}  {_shares(part.patterns)}".rstrip()


def _shares(patterns: Mapping[str, float]) -> str:
    return " ".join(f"{name} {share:.0%}" for name, share in sorted(patterns.items(), key=lambda item: -item[1]))


def as_json(parts: Sequence[Summary], found: Sequence[Row]) -> dict[str, object]:
    return {"summaries": [asdict(part) for part in parts], "rows": [asdict(row) for row in found]}


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
