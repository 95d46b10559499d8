"""The training loop of the sub-networks: resumable, budgeted in minutes or in steps, logged to a file."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ..align import Seen, darker, sight
from ..losses import mask_loss, picture_loss
from ..origin import commit
from ..spec import FAST, GENERALIST, PAST, RAINY, SPECS, STILL, NetSpec
from ..store import checkpoint, drafted, fit, halved, known_as, load, save, stamp
from ..subnet import DerainNet
from . import ranks
from .data import Making, Pool, Sample, See, make, make_moving, make_past, make_still
from .feed import Feed, Rendered
from .judge import Judge
from .paired import Paired, Shelves
from .precision import autocast
from .thumbnail import Begun

SHARES = {"clear": 0.12, "light": 0.38, "heavy": 0.5}
"""How often the generalist sees each pattern. No downpour: whether a veil is to be lifted is what routing tells, and one network
that must guess it dims dry scenes."""

APART = 1_000_003
"""Between the seeds of two ranks."""


@dataclass(frozen=True)
class Recipe:
    """One training run of one sub-network.

    name: of the weights file, SIZE_PATTERN; minutes: of training, data included; steps: if given, the budget in the place of minutes.
    start: weights to begin from. thumbs: weights of the fast size that derain the thumbnails of a large network's
    samples; those of a fast one are derained by the weights that it begins from.
    loss: one of LOSSES; attention: one of ATTENTIONS. For ablations, shape: of the network, in the place of its size's; teacher: weights
    of the large size, to be learnt from beside the truth.
    """

    name: str
    minutes: float
    size: str = "fast"
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    start: Path | None = None
    thumbs: Path | None = None
    rate: float = 1.5e-3
    batch: int = 16
    side: int = 128
    seed: int = 1
    mask_weight: float = 0.2
    average: float = 0.999
    loss: str = "dls"
    attention: str = "masked"
    steps: int = 0
    shape: NetSpec | None = None
    teacher: Path | None = None

    @property
    def pattern(self) -> str:
        """What the network is for: a pattern, or `generalist`."""
        return self.name.removeprefix(f"{self.size}_")

    @property
    def making(self) -> Making:
        """How its samples are made."""
        draws = {STILL: make_still, PAST: make_past, GENERALIST: make_moving if SPECS[self.size].alone else make}
        return partial(draws.get(self.pattern, make), see=self.see)

    @property
    def see(self) -> See:
        """How its samples are seen; thumbnails are derained as in the pipeline, or without a network where there is none yet."""
        by = self.start if self.size == FAST.name else self.thumbs
        return partial(Seen, derain=Begun(by) if by else darker, sight=sight(self.size))

    @property
    def budget(self) -> float:
        """What the run may spend: steps, or else seconds."""
        return self.steps or 60 * self.minutes


def specialist(pattern: str, minutes: float, size: str, folder: Path, seed: int) -> Recipe:
    """A run that starts from the generalist and sees mostly `pattern`, the rest as the router may err: dry scenes above all.

    pattern: one of RAINY, or PAST or STILL, which see all rain, with other neighbours or none, and go further from where they started.
    """
    start = folder / f"{size}_{GENERALIST}.safetensors"
    if pattern in (PAST, STILL):
        return Recipe(f"{size}_{pattern}", minutes, size, start=start, rate=5e-4, seed=seed)
    shares = {"clear": 0.14, **{name: 0.72 if name == pattern else 0.07 for name in RAINY}}
    return Recipe(f"{size}_{pattern}", minutes, size, shares, start, rate=1.5e-4, seed=seed)


class Training:
    """State of one run: network, its running average, optimiser, loss schedules and the clock."""

    def __init__(self, recipe: Recipe, device: str, compiled: bool = False, source: str = "") -> None:
        """source: what it learns from, by name."""
        self.recipe, self.device, self.source = recipe, torch.device(device), source
        torch.backends.cudnn.benchmark = True  # all batches are of one shape
        torch.manual_seed(recipe.seed)
        spec = replace(recipe.shape or SPECS[recipe.size], attention=recipe.attention)
        self.net = DerainNet(spec).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.start:
            fit(self.net, load(recipe.start)[0], recipe.start)
        self.mean = deepcopy(self.net).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), recipe.rate, weight_decay=1e-4, betas=(0.9, 0.98), fused=True)
        self.picture = picture_loss(recipe.loss, settled=bool(recipe.start))
        self.step, self.seconds = 0, 0.0
        if compiled:
            self.net.compile()  # in place, after it was copied: names stay, and the average is judged as it is

    @property
    def spent(self) -> float:
        """Of the recipe's budget, in its unit."""
        return self.step if self.recipe.steps else self.seconds

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0..1."""
        return min(1.0, self.spent / self.recipe.budget)

    def learn(self, planes: tuple[Tensor, ...]) -> float:
        """One step on a batch of the pool; returns the loss. Ranks that took the same steps have the same weights."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * min(1.0, (self.step + 1) / 300) * (1 - self.progress) ** 0.9
        y, uv, near, clean_y, mask = planes
        with autocast(self.device):
            found = self.net(y, uv, near)
        loss = self.picture(y + found.y.float() - clean_y, 1 + 4 * mask) + self.recipe.mask_weight * mask_loss(found.logits, mask)
        loss.backward()  # type: ignore[no-untyped-call]
        self._agree()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 0.3)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return float(loss.detach())

    def _agree(self) -> None:
        """Averages the gradients and the running error of all ranks."""
        ranks.average([weight.grad for weight in self.net.parameters() if weight.grad is not None])
        self.picture.resume(ranks.agreed(self.picture.state()))

    def _follow(self) -> None:
        """Moves the running average of the weights; faster at the start."""
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        follow = get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
        follow(list(self.mean.parameters()), list(self.net.parameters()), self.step)

    def state(self) -> dict[str, object]:
        """All that a resumed run needs."""
        return {
            "net": self.net.state_dict(), "mean": self.mean.state_dict(), "optimiser": self.optimiser.state_dict(),
            "picture": self.picture.state(), "step": self.step, "seconds": self.seconds, "asked": self._asked,
        }  # fmt: skip

    @property
    def _asked(self) -> dict[str, str]:
        """What makes this run another than others of its name; not how long it is, so that it can be lengthened."""
        start = known_as(self.recipe.start) if self.recipe.start else "none"
        facts = {name: str(getattr(self.recipe, name)) for name in ("loss", "attention", "seed", "batch", "shares")}
        return {**facts, "start": start, "source": self.source}

    def resume(self, path: Path) -> None:
        """Takes a checkpoint back. WeightsError if it is damaged, or another run's."""
        with checkpoint(path, self.device, self._asked) as state:
            self.net.load_state_dict(state["net"])
            self.mean.load_state_dict(state["mean"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.picture.resume(state["picture"])
            self.step, self.seconds = state["step"], state["seconds"]


@dataclass(frozen=True)
class Place:
    """Where a run works. folders: of clean footage, or of pairs; weights: folder for the result; runs: folder for checkpoints and logs.

    device: of torch; workers: processes that render, `storms` kinds of rain each. shelves: pairs that take the place of rendered rain.
    compiled: the network runs by torch.compile.
    """

    folders: list[Path]
    weights: Path
    runs: Path
    device: str = "cpu"
    workers: int = 1
    storms: int = 240
    shelves: Shelves | None = None
    compiled: bool = False

    @property
    def named(self) -> str:
        """What runs learn from, as their checkpoints tell it."""
        return ", ".join(map(known_as, self.folders))

    def source(self, recipe: Recipe) -> Callable[[int], Iterator[Sample]]:
        """What a recipe learns from: samples without end, of a seed."""
        if self.shelves:
            return Paired(self.shelves, recipe.shares, recipe.see)
        return Rendered(recipe.making, self.folders, recipe.shares, self.storms)


def run(recipe: Recipe, place: Place, judge: Judge | None = None) -> Path:
    """Trains to the end of the recipe's budget, or goes on where its checkpoint stopped; returns the weights file.

    Of several ranks, each runs this; the first alone needs a judge, and writes.
    """
    training, made_by = Training(recipe, place.device, place.compiled, place.named), commit()
    checkpoint, log = place.runs / f"{recipe.name}.pt", place.runs / f"{recipe.name}.jsonl"
    place.runs.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        training.resume(checkpoint)
    seed = recipe.seed + training.step + APART * ranks.rank()
    with Feed(place.source(recipe), seed, place.workers) as feed, log.open("a", buffering=1) as lines:
        spend(training, Pool(feed, seed, 32 * recipe.batch, training.device), judge, checkpoint, lines.write)
    target = place.weights / f"{recipe.name}.safetensors"
    if ranks.rank() == 0:
        facts: dict[str, object] = dict(judge.figures(training.mean)) if judge else {}
        facts |= {"attention": recipe.attention, "loss": recipe.loss, "minutes": round(training.seconds / 60, 2), "steps": training.step}
        state = training.mean.state_dict()
        save(target, halved(state) if SPECS[recipe.size].alone else state, stamp(command(), made_by, ranks=ranks.count(), **facts))
    ranks.told(0)  # the next run may begin from this file
    return target


def spend(training: Training, pool: Pool, judge: Judge | None, checkpoint: Path, write: Callable[[str], object]) -> None:
    """Steps until the budget is spent; a checkpoint, a judgement and a line of the log every two minutes."""
    recipe, waited, marked, since = training.recipe, 0.0, training.step, time.monotonic()
    unit = "step" if recipe.steps else "s"
    bar = tqdm(total=round(recipe.budget), initial=round(training.spent), unit=unit, desc=recipe.name, mininterval=5, disable=ranks.rank() > 0)
    saved = training.seconds
    while training.progress < 1:
        started = time.monotonic()
        planes = pool.batch(recipe.batch, recipe.side)
        waited += time.monotonic() - started
        loss = training.learn(planes)
        training.seconds = ranks.told(training.seconds + time.monotonic() - started)
        bar.update(round(training.spent) - bar.n)
        if training.seconds - saved > 120 or training.progress >= 1:
            if ranks.rank() == 0:
                elapsed, steps = time.monotonic() - since, (training.step - marked) * ranks.count()
                line = {
                    "step": training.step, "minutes": round(training.seconds / 60, 2), "loss": round(loss, 5),
                    "megapixels_per_second": round(steps * recipe.batch * recipe.side**2 / elapsed / 1e6, 3),
                    "waiting": round(waited / elapsed, 4), "rendered": pool.made, "exponent": round(training.picture.exponent, 3),
                    **(judge.figures(training.mean) if judge else {}),
                }  # fmt: skip
                bar.write(json.dumps(line))
                write(json.dumps(line) + "\n")
                _keep(training, checkpoint)
            saved, waited, marked, since = training.seconds, 0.0, training.step, time.monotonic()
    bar.close()


def _keep(training: Training, checkpoint: Path) -> None:
    with drafted(checkpoint) as draft:
        torch.save(training.state(), draft)


def command() -> str:
    """The command line that runs now, with the names alone of folders given by their whole path."""
    return "derain-train " + shlex.join(Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])
