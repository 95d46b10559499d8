"""What a choice is worth: one small training several times over, equal in all but the loss, the attention, the shape or the teacher.

All runs take as many steps and see the same crops in the same order, of samples rendered once and kept; those of one shape begin with the
same weights.
A run that is finished is not repeated; one that was stopped goes on.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from ..losses import LOSSES
from ..origin import commit
from ..spec import ATTENTIONS, FAST, NEIGHBOURS, PATTERNS, QUALITY, RAINY
from ..store import WeightsError, drafted, load, network, save
from ..subnet import Derained, DerainNet
from .data import Pool, Sample
from .feed import Feed
from .footage import Scene
from .judge import Judge
from .loop import Place, Recipe, Training, spend

VARIED = ("loss", "attention", "shape", "teacher")
"""What variants may differ in."""

SHAPES = {
    "depthwise": replace(FAST, block="depthwise"),
    "depthwise, wider": replace(FAST, widths=(48, 80, 128), block="depthwise"),
    "branched": replace(FAST, block="branched"),
    "narrow and deep": replace(FAST, widths=(24, 32, 48), depths=(1, 2, 2)),
    "wide and shallow": replace(FAST, widths=(40, 48, 64), depths=(0, 0, 1)),
    "early drop": replace(FAST, widths=(16, 56, 96)),
}
"""Of the fast size. An early drop works at a quarter and an eighth of the resolution, rather than at half."""

ROUNDS = 9
"""Steps and frames that are timed of each variant, in turns, so that a busy machine slows all alike."""

TIMED = (352, 640)
"""Height and width of these frames."""

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


def variants(ships: Recipe, varied: Sequence[str], teacher: Path) -> dict[str, Recipe]:
    """What ships, then by name what differs from it in one thing of `varied`, some of VARIED. teacher: weights of the large size.

    ValueError for shapes of another size than the fast one.
    """
    if "shape" in varied and ships.size != FAST.name:
        raise ValueError(f"--vary shape: shapes are of --size {FAST.name}, not of {ships.size}; give other things to --vary")
    kinds = {"loss": [(loss, replace(ships, loss=loss)) for loss in LOSSES if loss != ships.loss]}
    kinds["attention"] = [(f"attention {how}", replace(ships, attention=how)) for how in ATTENTIONS if how != ships.attention]
    kinds["shape"] = [(name, replace(ships, shape=shape)) for name, shape in SHAPES.items()]
    kinds["teacher"] = [("taught", replace(ships, teacher=teacher))]
    chosen = [("ships", ships), *(kind for name in VARIED if name in varied for kind in kinds[name])]
    return {name: replace(kind, name=f"{ships.size}_{name.replace(',', '').replace(' ', '_')}") for name, kind in chosen}


@dataclass(frozen=True)
class Cost:
    """What a variant costs: thousands of multiplications with addition per pixel, milliseconds per megapixel, seconds per step."""

    work: float
    time: float
    step: float


def run(ships: Recipe, kinds: Mapping[str, Recipe], place: Place, val: list[Scene], count: int, seeds: int = 1) -> str:
    """Trains `kinds`, variants of `ships`, on `count` samples with each of `seeds` seeds, judges them on every scene of `val`; returns the table.

    All is kept below the folder `ablation` of the place's runs. ValueError if an ablation of other settings is there.
    """
    place = replace(place, runs=place.runs / "ablation")
    place.runs.mkdir(parents=True, exist_ok=True)
    settings = f"{ships}, {[folder.resolve() for folder in place.folders]}, {place.storms}, {count}, {[scene.name for scene in val]}"
    trials = [[replace(kind, seed=ships.seed + k) for k in range(seeds)] for kind in kinds.values()]
    todo = [row[k] for k in range(seeds) for row in trials if not _result(row[k], place).exists()]
    samples = _samples(ships, place, count, settings)
    if todo:
        lessons = {teacher: taught(samples, teacher) if teacher else samples for teacher in {trial.teacher for trial in todo}}
        judge = Judge(val, each=len(val))
        for trial in todo:
            _train(trial, place, lessons[trial.teacher], judge)
    return table(list(kinds), [[_row(trial, place) for trial in row] for row in trials], _costs(list(kinds.values()), place, samples))


def _samples(ships: Recipe, place: Place, count: int, settings: str) -> list[Sample]:
    """The samples of this ablation: rendered, or taken from its folder."""
    path = place.runs / "samples.safetensors"
    if not path.exists():
        with Feed(place.source(ships), ships.seed, place.workers) as feed:
            made = [feed.get() for _ in tqdm(range(count), unit="sample", desc="rendering", mininterval=5)]
        stacks = {field.name: torch.stack([torch.as_tensor(getattr(one, field.name)) for one in made]) for field in fields(Sample)}
        save(path, stacks, {"settings": settings, "commit": commit()})
    stacks, facts = load(path)
    if facts.get("settings") != settings:
        raise ValueError(f"{path.parent}: holds an ablation with other settings or footage; delete it, or give another folder by --runs")
    patterns = stacks.pop("pattern").tolist()
    return [Sample(**{name: stack[k] for name, stack in stacks.items()}, pattern=pattern) for k, pattern in enumerate(patterns)]


def taught(samples: list[Sample], teacher: Path) -> list[Sample]:
    """Distillation: samples whose truth is halfway to what the network of the large size in that file makes of them."""
    net = network(teacher, QUALITY.name)
    return [replace(one, clean_y=_halfway(one, net)) for one in tqdm(samples, unit="sample", desc="teaching", mininterval=5)]


def _halfway(sample: Sample, net: DerainNet) -> Tensor:
    y, uv, near, truth = sample.seen()
    with torch.inference_mode():
        found: Derained = net(y, uv, near)
    return (((y + found.y).clamp(0, 1) + truth)[0] / 2 * 255).round().byte()


def _pool(trial: Recipe, place: Place, samples: list[Sample]) -> Pool:
    """All samples from the start, and crops that hang on the seed alone."""
    return Pool(Kept(samples), trial.seed, 4 * len(samples), place.device)  # a pool begins with a quarter of its size


def _result(trial: Recipe, place: Place) -> Path:
    """Of a run; by another teacher it is another run's."""
    return place.runs / f"{trial.name}_{trial.seed}{_mark(trial.teacher) if trial.teacher else ''}.json"


def _mark(teacher: Path) -> str:
    load(teacher)  # says what is wrong with it
    return f"_{zlib.crc32(teacher.read_bytes()):08x}"


def _row(trial: Recipe, place: Place) -> Row:
    """What a finished run has left. WeightsError if that is damaged."""
    path = _result(trial, place)
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
        return {pattern: float(figures[pattern]) for pattern in PATTERNS}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: is no result of an ablation; remove it, and its run is repeated") from error


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
    with drafted(result) as draft:
        draft.write_text(json.dumps({"figures": figures, "steps": training.step, "seconds": round(training.seconds), "commit": commit()}))
    checkpoint.unlink(missing_ok=True)


def _costs(kinds: list[Recipe], place: Place, samples: list[Sample]) -> list[Cost]:
    """Of each kind; times are the medians of ROUNDS, the frame's in torch on the place's device, in float32."""
    planes = _pool(kinds[0], place, samples).batch(kinds[0].batch, kinds[0].side)
    rows, columns = TIMED
    sizes = (1, rows, columns), (2, rows // 2, columns // 2), (NEIGHBOURS, rows, columns)
    frame = [torch.rand(1, *size, device=place.device) for size in sizes]
    trainings = [Training(kind, place.device, place.compiled) for kind in kinds]
    acts = [(partial(_seen, one.mean, frame), partial(one.learn, planes)) for one in trainings]
    rounds = [[[_seconds(act) for act in pair] for pair in acts] for _ in range(ROUNDS + 1)][1:]  # the first of each is slow
    found = []
    for (seen, _), times in zip(acts, zip(*rounds, strict=True), strict=True):
        forward, step = (median(column) for column in zip(*times, strict=True))
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            seen()
        found.append(Cost(counted.get_total_flops() / 2e3 / (rows * columns), forward * 1e9 / (rows * columns), step))
    return found


@torch.no_grad()
def _seen(net: DerainNet, frame: list[Tensor]) -> float:
    """Derains a frame, and waits for it."""
    return float(net(*frame).y.mean())


def _seconds(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def table(names: list[str], found: list[list[Row]], costs: list[Cost]) -> str:
    """Means over the seeds for each variant, of which the first is what ships, and how far they are from it: the mean, the least and the most."""
    heads = ("variant", *RAINY, "mean", "against what ships", "clear", "kMAC/pixel", "ms/Mpixel", "s/step")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    ships = [_gain(row) for row in found[0]]
    for k, (name, rows, cost) in enumerate(zip(names, found, costs, strict=True)):
        gains, means = [_gain(row) for row in rows], {pattern: fmean(row[pattern] for row in rows) for pattern in PATTERNS}
        cells = [*(f"{means[pattern]:.2f}" for pattern in RAINY), f"{fmean(gains):.2f}", _against(gains, ships) if k else "", f"{means['clear']:.2f}"]
        lines.append(f"| {' | '.join([name, *cells, f'{cost.work:.2f}', f'{cost.time:.0f}', f'{cost.step:.3f}'])} |")
    if len(ships) > 1:
        lines.append(f"\nMeans of what ships, by seed: {', '.join(f'{gain:.2f}' for gain in ships)}.")
    return "\n".join(lines)


def _gain(row: Row) -> float:
    return fmean(row[pattern] for pattern in RAINY)


def _against(gains: list[float], ships: list[float]) -> str:
    apart = [gain - other for gain, other in zip(gains, ships, strict=True)]
    return f"{fmean(apart):+.2f}" + (f" ({min(apart):+.2f} to {max(apart):+.2f})" if len(apart) > 1 else "")
