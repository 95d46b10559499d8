"""What a benchmark prints while it runs and when it is done, and what it leaves as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from ..export.runtime.base import Runtime
from ..models.spec import RAINY
from ..models.train.pairs import find
from ..pipeline.arrays import Derainer
from . import ablation as ablations
from . import kinds, methods, pairs, peer, routing, sheet
from . import perception as looks
from . import speed as speeds
from . import stability as stabilities
from . import temporal as temporals
from .footage import Clip, FootageError, enlarged, footage, resized
from .kinds import Kind
from .methods import Method
from .origin import origin
from .quality import Row, as_json, oracle, rows, summaries, table
from .scene import SIZES, scene
from .scene import write as write_clip

ON_GPU = 8
"""Times as many frames as on a processor, for a GPU's start-up varies by a second."""


def compared(runtime: Runtime, pattern: str, each: bool) -> dict[str, Method]:
    """The methods of one run by name; `each` adds every sub-network alone."""
    alone = {name: methods.ours(runtime, name) for name in RAINY} if each else {}
    return {"input": methods.untouched, "median5": methods.median, "ours": methods.ours(runtime, pattern), **alone}


def rendered(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Quality under rendered rain, by the options of `derain-bench quality FOLDER`."""
    chosen = kinds.chosen(options.kinds)
    clips = [enlarged(clip, options.lines) for clip in footage(options.folder, options.frames, options.clips)]
    return quality(chosen, clips, compared(runtime, options.pattern, options.each), options.sheet)


def quality(chosen: Sequence[Kind], clips: Sequence[Clip], by_name: Mapping[str, Method], picture: Path | None) -> dict[str, Any]:
    """Measures, prints the table, writes the contact sheet of the method `ours` to `picture`; returns the figures."""
    found = measured(chosen, clips, by_name)
    found += oracle(found, [name for name in RAINY if name in by_name])
    parts = summaries(found, chosen)
    print(table(parts, chosen))
    if picture:
        sheet.write(picture, chosen, clips, by_name["ours"])
    return origin() | as_json(parts, found)


def measured(chosen: Sequence[Kind], clips: Sequence[Clip], by_name: Mapping[str, Method]) -> list[Row]:
    """Every method on every clip in every kind of weather, with a bar."""
    with tqdm(rows(chosen, clips, by_name), total=len(chosen) * len(clips), unit="clip", leave=False) as bar:
        return [row for part in bar for row in part]


def ablation(options: argparse.Namespace, runtime: Runtime, one: Runtime) -> dict[str, Any]:
    """One network against routing, by the options of `derain-bench ablation`. one: the runtime with one network for all rain."""
    chosen = kinds.chosen(options.kinds)
    clips = footage(options.folder, options.frames, options.clips)
    alone = {name: methods.ours(runtime, name, by_pattern=True) for name in RAINY}
    single, routed = methods.ours(one, RAINY[0], by_pattern=True), methods.ours(runtime, by_pattern=True)
    ways = {"input": methods.untouched, "single": single, "routed": routed, **alone}
    found = [replace(row, patterns={}) if row.method == "single" else row for row in measured(chosen, clips, ways)]
    truth = {(kind.name, clip.name): looks.pattern(kind, clip) for kind in chosen for clip in clips}
    found += ablations.routed_otherwise(found, truth, options.seed)
    parts, patterns = summaries(found, chosen), ablations.by_pattern(found, truth)
    said = ablations.verdict([part for part in parts if part.kind in {kind.name for kind in chosen if not kind.dry}])
    print("\n\n".join([table(parts, chosen), table(patterns, []), said]))
    return origin() | as_json(parts, found) | {"patterns": [asdict(part) for part in patterns], "verdict": said}


def temporal(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Every kind of state, on clips under each kind of rain."""
    chosen = [kind for kind in kinds.chosen(options.kinds) if not kind.dry]
    clips = [clip for clip in footage(options.folder, options.frames, options.clips) if len(clip) > 1]
    if not clips or not chosen:
        raise FootageError(f"{options.folder}: no clips or no kinds of rain among those taken; state needs footage that moves, and rain")
    measuring = temporals.measure(chosen, clips, runtime, options.pattern)
    with tqdm(measuring, total=len(chosen) * len(clips), unit="clip", leave=False) as bar:
        found = [row for part in bar for row in part]
    print(temporals.table(found))
    return origin() | temporals.as_json(found)


def stability(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """300 frames of each clip, at 640 x 360, under each kind of rain."""
    chosen = kinds.chosen(options.kinds)
    clips = [resized(clip, routing.SIZE) for clip in footage(options.folder, stabilities.SHOT, options.clips) if len(clip) >= stabilities.SHOT]
    if not clips:
        raise FootageError(f"{options.folder}: no clip of {stabilities.SHOT} frames or more among those taken; give longer ones")
    with tqdm(stabilities.measure(chosen, clips, methods.ours(runtime, options.pattern)), total=len(chosen) * len(clips), leave=False) as bar:
        found = list(bar)
    print(stabilities.table(found))
    return origin() | stabilities.as_json(found)


def perception(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """What perception decides on every clip in every weather."""
    clips = [enlarged(clip, options.lines) for clip in footage(options.folder, options.frames, options.clips)]
    with tqdm(looks.measure(clips, runtime), total=len(clips) * len(looks.weathers()), unit="clip", leave=False) as bar:
        found = list(bar)
    print(looks.table(found))
    return origin() | looks.as_json(found)


def paired(options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Quality on paired folders, by the options of `derain-bench quality --pairs ROOT`."""
    derainer = Derainer(runtime, pattern=options.pattern, by_pattern=options.by_pattern)
    scores = pairs.measure(find(options.pairs), derainer, pairs.folders(options.results))
    print(pairs.table(scores))
    return origin() | pairs.as_json(scores)


def speed(options: argparse.Namespace, opened: Callable[[str], Runtime]) -> dict[str, Any]:
    """Measures every size by every runtime, prints the table; returns the figures. opened: gives a runtime by its name."""
    network = peer.load(options.peer) if options.peer is not None else None
    for name in options.runtime:
        opened(name).close()  # one that is not there is told at once
    results = []
    with TemporaryDirectory() as folder, tqdm(total=len(options.runtime) * len(options.sizes), unit="row", leave=False) as bar:
        for name in options.runtime:
            with opened(name) as runtime:
                for size in options.sizes:
                    results.append(_one_size(size, options, runtime, network, Path(folder)))
                    bar.update()
    print(speeds.table(results))
    return origin() | {"preset": options.preset} | speeds.as_json(results)


def _one_size(size: str, options: argparse.Namespace, runtime: Runtime, network: peer.Network | None, folder: Path) -> speeds.Speed:
    width, height = SIZES[size]
    enough = options.frames if runtime.device == "cpu" else ON_GPU * options.frames
    count = max(16, enough * 640 * 360 // (width * height))
    clip = scene((width, height), options.clip)
    video, first = folder / f"{size}.mp4", folder / f"{size}-1.mp4"
    write_clip(video, clip, count)
    write_clip(first, clip, speeds.SHORT)
    chosen = ("--runtime", runtime.name, "--precision", runtime.precision, "--model", options.model)
    said = (*chosen, "--threads", str(options.threads), "--preset", options.preset, "--quiet")
    result = speeds.measure(size, clip, video, first, count, runtime, said)
    if network is None:
        return result
    return replace(result, peer_fps=speeds.pace(lambda: peer.work(network, clip, min(count, 16))).fps)


def write(path: Path, result: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
