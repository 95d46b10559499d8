"""What MGCA and DLS are worth: one small training several times over, equal in all but the loss or the attention.

All runs take as many steps, begin with the same weights and see the same crops in the same order, of samples rendered once and kept.
A run that is finished is not repeated; one that was stopped goes on.
"""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor
from tqdm import tqdm

from ..losses import LOSSES
from ..spec import ATTENTIONS, PATTERNS, RAINY
from ..store import load, save
from .data import Pool, Sample
from .feed import Feed
from .footage import Scene
from .judge import Judge
from .loop import Place, Recipe, Training, commit, spend

ROUNDS = 9
"""Steps that are timed of each variant, in turns, so that a busy machine slows all alike."""

Row = dict[str, float]
"""Figures of the Judge, by pattern."""


class Kept(Feed[Sample]):
    """Samples that lie ready, in the place of a feed: each is given once, none is made."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = iter(samples)

    def get(self) -> Sample:
        return next(self.samples)

    def ready(self) -> bool:
        return False


def variants(ships: Recipe) -> list[Recipe]:
    """What ships, then every other loss, then every other attention."""
    losses = [replace(ships, loss=loss) for loss in LOSSES if loss != ships.loss]
    attentions = [replace(ships, attention=attention) for attention in ATTENTIONS if attention != ships.attention]
    return [replace(each, name=f"{each.size}_{each.loss}_{each.attention}") for each in (ships, *losses, *attentions)]


def run(ships: Recipe, place: Place, val: list[Scene], count: int, seeds: int = 1) -> str:
    """Trains every variant of `ships` on `count` samples with each of `seeds` seeds, judges it on every scene of `val`; returns the table.

    All is kept below the folder `ablation` of the place's runs. ValueError if an ablation of other settings is there.
    """
    place = replace(place, runs=place.runs / "ablation")
    place.runs.mkdir(parents=True, exist_ok=True)
    settings = f"{ships}, {[folder.resolve() for folder in place.folders]}, {place.storms}, {count}, {[scene.name for scene in val]}"
    samples = _samples(ships, place, count, settings)
    kinds = variants(ships)
    trials = [[replace(kind, seed=ships.seed + k) for k in range(seeds)] for kind in kinds]
    todo = [row[k] for k in range(seeds) for row in trials if not _result(row[k], place).exists()]
    if todo:
        judge = Judge(val, each=len(val))
        for trial in todo:
            _train(trial, place, samples, judge)
    return table(kinds, [[_row(trial, place) for trial in row] for row in trials], _paces(kinds, place, samples))


def _samples(ships: Recipe, place: Place, count: int, settings: str) -> list[Sample]:
    """The samples of this ablation: rendered, or taken from its folder."""
    path = place.runs / "samples.safetensors"
    if not path.exists():
        with Feed(place.source(ships), ships.seed, place.workers) as feed:
            made = [feed.get() for _ in tqdm(range(count), unit="sample", desc="rendering", mininterval=5)]
        stacks = {field.name: torch.stack([torch.as_tensor(getattr(one, field.name)) for one in made]) for field in fields(Sample)}
        save(path, stacks, {"settings": settings, "commit": commit()})
    stacks, facts = load(path)
    if facts["settings"] != settings:
        raise ValueError(f"{path.parent}: holds an ablation with other settings or footage; delete it, or give another folder by --runs")
    patterns = stacks.pop("pattern").tolist()
    return [Sample(**{name: stack[k] for name, stack in stacks.items()}, pattern=pattern) for k, pattern in enumerate(patterns)]


def _pool(trial: Recipe, place: Place, samples: list[Sample]) -> Pool:
    """All samples from the start, and crops that hang on the seed alone."""
    return Pool(Kept(samples), trial.seed, 4 * len(samples), place.device)  # a pool begins with a quarter of its size


def _result(trial: Recipe, place: Place) -> Path:
    return place.runs / f"{trial.name}_{trial.seed}.json"


def _row(trial: Recipe, place: Place) -> Row:
    """What a finished run has left."""
    row: Row = json.loads(_result(trial, place).read_text())["figures"]
    return row


def _train(trial: Recipe, place: Place, samples: list[Sample], judge: Judge) -> None:
    """One run to its end, from its checkpoint if there is one."""
    result, training, pool = _result(trial, place), Training(trial, place.device, place.compiled), _pool(trial, place, samples)
    checkpoint = result.with_suffix(".pt")
    if checkpoint.exists():
        training.resume(checkpoint)
        for _ in range(training.step):
            pool.batch(trial.batch, trial.side)  # crops that were seen
    with result.with_suffix(".jsonl").open("a", buffering=1) as log:
        spend(training, pool, None, checkpoint, log.write)
    figures = judge.figures(training.mean)
    draft = result.with_suffix(".tmp")
    draft.write_text(json.dumps({"figures": figures, "steps": training.step, "seconds": round(training.seconds), "commit": commit()}))
    draft.replace(result)
    checkpoint.unlink(missing_ok=True)


def _paces(kinds: list[Recipe], place: Place, samples: list[Sample]) -> list[float]:
    """Seconds of a step of each kind, the median of ROUNDS."""
    planes = _pool(kinds[0], place, samples).batch(kinds[0].batch, kinds[0].side)
    trainings = [Training(kind, place.device, place.compiled) for kind in kinds]
    for training in trainings:
        training.learn(planes)
    rounds = [[_seconds(training, planes) for training in trainings] for _ in range(ROUNDS)]
    return [median(times) for times in zip(*rounds, strict=True)]


def _seconds(training: Training, planes: tuple[Tensor, ...]) -> float:
    started = time.monotonic()
    training.learn(planes)
    return time.monotonic() - started


def table(kinds: list[Recipe], found: list[list[Row]], paces: list[float]) -> str:
    """Means over the seeds for each kind, of which the first is what ships, and how far they are from it: the mean, the least and the most."""
    lines = ["| loss, attention | " + " | ".join(RAINY) + " | mean | against what ships | clear | s/step |", "|---" * (len(RAINY) + 5) + "|"]
    ships = [_gain(row) for row in found[0]]
    for kind, rows, pace in zip(kinds, found, paces, strict=True):
        gains, means = [_gain(row) for row in rows], {pattern: fmean(row[pattern] for row in rows) for pattern in PATTERNS}
        cells = [*(f"{means[pattern]:.2f}" for pattern in RAINY), f"{fmean(gains):.2f}", _against(gains, ships) if kind is not kinds[0] else ""]
        lines.append(" | ".join([f"| {kind.loss}, {kind.attention}", *cells, f"{means['clear']:.2f}", f"{pace:.3f} |"]))
    if len(ships) > 1:
        lines.append(f"\nMeans of what ships, by seed: {', '.join(f'{gain:.2f}' for gain in ships)}.")
    return "\n".join(lines)


def _gain(row: Row) -> float:
    return fmean(row[pattern] for pattern in RAINY)


def _against(gains: list[float], ships: list[float]) -> str:
    apart = [gain - other for gain, other in zip(gains, ships, strict=True)]
    return f"{fmean(apart):+.2f}" + (f" ({min(apart):+.2f} to {max(apart):+.2f})" if len(apart) > 1 else "")
