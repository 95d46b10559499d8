"""What a benchmark prints while it runs and when it is done, and what it leaves as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from ..export.runtime.base import Runtime
from ..models.spec import RAINY
from ..models.train.pairs import find
from . import kinds, methods, pairs, peer, sheet
from . import speed as speeds
from .footage import Clip, footage
from .kinds import Kind
from .methods import Method
from .origin import origin
from .quality import as_json, oracle, rows, summaries, table
from .scene import SIZES, scene
from .scene import write as write_clip


def compared(runtime: Runtime, pattern: str, each: bool) -> dict[str, Method]:
    """The methods of one run by name; `each` adds every sub-network alone."""
    alone = {name: methods.ours(runtime, name) for name in RAINY} if each else {}
    return {"input": methods.untouched, "median5": methods.median, "ours": methods.ours(runtime, pattern), **alone}


def rendered(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Quality under rendered rain, by the options of `derain-bench quality FOLDER`."""
    chosen = [kinds.named(name) for name in options.kinds or kinds.BY_NAME]
    clips = footage(options.folder, options.frames, options.clips)
    return quality(chosen, clips, compared(runtime, options.pattern, options.each), options.sheet)


def quality(chosen: Sequence[Kind], clips: Sequence[Clip], by_name: Mapping[str, Method], picture: Path | None) -> dict[str, Any]:
    """Measures, prints the table, writes the contact sheet of the method `ours` to `picture`; returns the figures."""
    with tqdm(rows(chosen, clips, by_name), total=len(chosen) * len(clips), unit="clip", leave=False) as bar:
        found = [row for part in bar for row in part]
    found += oracle(found, [name for name in RAINY if name in by_name])
    parts = summaries(found, chosen)
    print(table(parts, chosen))
    if picture:
        sheet.write(picture, chosen, clips, by_name["ours"])
    return origin() | as_json(parts, found)


def paired(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Quality on paired folders, by the options of `derain-bench quality --pairs ROOT`."""
    scores = pairs.measure(find(options.pairs), runtime, options.pattern, pairs.folders(options.results))
    print(pairs.table(scores))
    return origin() | pairs.as_json(scores)


def speed(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Measures every size, prints the table; returns the figures."""
    network = peer.load(options.peer) if options.peer else None
    with TemporaryDirectory() as folder, tqdm(options.sizes, unit="size", leave=False) as bar:
        results = [_one_size(size, options, runtime, network, Path(folder)) for size in bar]
    print(speeds.table(results))
    return origin() | speeds.as_json(results)


def _one_size(size: str, options: argparse.Namespace, runtime: Runtime, network: peer.Network | None, folder: Path) -> speeds.Speed:
    width, height = SIZES[size]
    count = max(16, options.frames * 640 * 360 // (width * height))
    clip = scene((width, height), options.clip)
    video, first = folder / f"{size}.mp4", folder / f"{size}-1.mp4"
    write_clip(video, clip, count)
    write_clip(first, clip, 1)
    chosen = ("--runtime", runtime.name, "--precision", runtime.precision, "--model", options.model)
    said = (*chosen, "--threads", str(options.threads), "--quiet")
    result = speeds.measure(size, clip, video, first, count, runtime, said)
    if network is None:
        return result
    return replace(result, peer_fps=speeds.pace(lambda: peer.work(network, clip, min(count, 16))).fps)


def write(path: Path, result: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
