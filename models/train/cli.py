"""`derain-train`: everything that ships, from folders of clean clips and stills; or the sub-networks from paired public sets."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..losses import LOSSES
from ..options import THREADS, Parser, number, picture
from ..perception import SMALL, perceiver
from ..spec import ATTENTIONS, FAST, GENERALIST, NETWORKS, PAST, QUALITY, RAINY, SPECS, STILL
from ..store import WEIGHTS
from ..store import load as read
from . import ablation, clip, paired, ranks
from .footage import load
from .judge import Judge
from .loop import Place, Recipe, run, specialist
from .preview import sheet


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    top = Parser(prog="derain-train", description="Train the networks of derain-video.")
    top.add_argument("what", choices=("clip", "generalist", "specialist", "all", "ablation", "preview"))
    top.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="clean clips and stills, searched with all their sub-folders")
    top.add_argument("--pairs", type=Path, metavar="ROOT", help="paired folders of public sets, in place of clean footage and rendered rain")
    top.add_argument("--clip", default=SMALL, metavar="NAME", help="with --pairs: CLIP of open_clip that routes (default: the one that ships)")
    top.add_argument("--clip-pretrained", metavar="TAG", help="its pretrained tag or checkpoint file, e.g. openai")
    top.add_argument("--val", type=Path, nargs="+", help="clean clips and stills to judge by")
    minutes = "training time of the CLIP and of the generalist; a specialist takes a third (default: %(default)s)"
    top.add_argument("--minutes", type=number(float, 0.001), default=60, help=minutes)
    top.add_argument("--steps", type=number(int, 1), default=0, help="of each sub-network, in the place of --minutes; ablation needs it")
    top.add_argument("--size", choices=sorted(SPECS), default="fast")
    top.add_argument("--pattern", choices=NETWORKS, action="append", help="specialists to train (default: each)")
    top.add_argument("--start", type=Path, metavar="FILE", help="with clip, generalist or one --pattern: weights to begin from, those that ship say")
    top.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights (default: the package's own)")
    top.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and logs (default: %(default)s)")
    top.add_argument("--out", type=picture, default=Path("preview.png"), help="picture that `preview` writes (default: %(default)s)")
    top.add_argument("--loss", choices=LOSSES, default="dls", help="of the sub-networks' pictures, for ablations (default: %(default)s)")
    top.add_argument("--attention", choices=ATTENTIONS, default="masked", help="of the sub-networks, for ablations (default: %(default)s)")
    top.add_argument("--samples", type=number(int, 1), default=600, help="of ablation: rendered once, seen by all its runs (default: %(default)s)")
    vary = "of ablation: what its runs differ in (default: loss and attention)"
    top.add_argument("--vary", choices=ablation.VARIED, nargs="+", default=["loss", "attention"], help=vary)
    top.add_argument("--seeds", type=number(int, 1), default=1, help="of ablation: times that each variant is trained (default: %(default)s)")
    batch = "crops in a step, of each process of torchrun; twice as many for the CLIP (default: %(default)s)"
    top.add_argument("--batch", type=number(int, 1), default=16, help=batch)
    top.add_argument("--seed", type=number(int, 0), default=1)
    top.add_argument("--threads", type=number(int, 0, THREADS), default=0, help="of the training step (default: PyTorch's choice)")
    top.add_argument("--workers", type=number(int, 1, THREADS), default=1, help="processes that render rain")
    top.add_argument("--storms", type=number(int, 1), default=240, help="kinds of rain that each of them renders first (default: %(default)s)")
    top.add_argument("--compile", action="store_true", help="the sub-networks' step by torch.compile: a minute at the start; for GPUs")
    top.add_argument("--device", type=_device, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:1")
    return top


def _device(name: str) -> str:
    """The name of a device that is there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()):
        return name
    raise argparse.ArgumentTypeError(f"{name!r} is not there; give cpu, or cuda where torch finds an NVIDIA GPU")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, or 2 with one line on what was wrong."""
    options = parser().parse_intermixed_args(argv)  # folders may follow options
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        with ranks.joined(options.device) as options.device:
            _run(options)
    except (OSError, ValueError) as error:
        print(f"derain-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("derain-train: interrupted; the same command goes on from the last checkpoint, where one was written", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    _check(options)
    if options.what == "preview":
        return sheet(load(options.folders), options.out, options.seed)
    _check_place("--runs", options.runs)
    if options.what != "ablation":
        _check_place("--weights", options.weights)
    val = load(options.val) if options.val and ranks.rank() == 0 else []
    shelves = _shelves(options) if options.pairs else None
    recipes = _recipes(options, shelves)
    folders = options.folders or [options.pairs]
    place = Place(folders, options.weights, options.runs, options.device, options.workers, options.storms, shelves, options.compile)
    if options.what in ("clip", "all"):
        clip.train(place, val, options.minutes, options.start, 2 * options.batch, options.seed)
    if options.what == "ablation":
        ships, teacher = _recipe(options, options.size, GENERALIST), options.weights / f"{QUALITY.name}_{GENERALIST}.safetensors"
        print(ablation.run(ships, ablation.variants(ships, options.vary, teacher), place, val, options.samples, options.seeds))
    if options.what != "all":  # which makes them itself
        _check_starts(recipes)
    for recipe in recipes:
        run(recipe, place, Judge(val, making=recipe.making) if val else None)


def _check(options: argparse.Namespace) -> None:
    """FileNotFoundError or ValueError for what cannot be trained on."""
    for folder in [*options.folders, *(options.val or [])]:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; give folders of clean clips and stills")
    if bool(options.folders) == bool(options.pairs):
        raise ValueError("give folders of clean clips and stills, or --pairs ROOT: derain-train generalist FOLDER")
    if options.start and options.what not in ("clip", "generalist") and not (options.what == "specialist" and len(options.pattern or ()) == 1):
        raise ValueError(f"--start {options.start}: clip, generalist and the specialist of one --pattern begin from weights; {options.what} does not")
    if options.compile and not shutil.which(compiler := os.environ.get("CXX", "g++")):
        raise FileNotFoundError(f"--compile: {compiler} is not there, and torch.compile needs it; install g++, or train without --compile")
    if options.what == "specialist" and SPECS[options.size].alone and options.pattern != [STILL]:
        raise ValueError(f"--size {options.size}: one network serves every pattern there; train generalist, or --pattern {STILL}")
    if ranks.count() > 1 and options.what not in ("generalist", "specialist"):
        raise ValueError(f"torchrun: {options.what} runs in one process; only generalist and specialist share their work")
    if options.what == "ablation" and not (options.steps and options.val):
        raise ValueError("ablation: all its runs take as many steps and are judged; give --steps N and --val FOLDER")
    if options.pairs and (others := {PAST, STILL} & set(options.pattern or ())):
        raise ValueError(f"--pattern {min(others)}: pairs train specialists of rain; this one is trained on rendered rain")
    if options.what == "clip" and options.steps:
        raise ValueError(f"--steps {options.steps}: of the sub-networks; the CLIP takes --minutes")
    if options.pairs and options.what not in ("generalist", "specialist"):
        raise ValueError(f"--pairs {options.pairs}: pairs train generalist and specialist; {options.what} needs folders of clean footage")


def _check_place(option: str, folder: Path) -> None:
    """OSError for a folder that cannot be made or written in. It is not made yet."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise OSError(f"{option} {folder}: its name is no UTF-8, as torch needs it; give another") from None
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise OSError(f"{option} {folder}: {nearest} is no folder that can be written in; give another")


def _check_starts(recipes: list[Recipe]) -> None:
    """Says what is wrong with weights that are begun from before anything is trained. FileNotFoundError or WeightsError."""
    for path in dict.fromkeys(path for recipe in recipes for path in (recipe.start, recipe.thumbs) if path):
        read(path)


def _shelves(options: argparse.Namespace) -> paired.Shelves:
    """The pairs by the pattern that the frozen CLIP decides."""
    shelves = paired.shelves(options.pairs, perceiver(options.clip, options.clip_pretrained).to(options.device))
    print(f"{options.pairs}: {paired.told(shelves)}", file=sys.stderr)
    return shelves


def _recipes(options: argparse.Namespace, shelves: paired.Shelves | None) -> list[Recipe]:
    recipes = [_recipe(options, size, name) for size, name in _stages(options, RAINY if shelves else NETWORKS)]
    return [replace(recipe, shares=paired.shares(shelves, recipe.pattern, recipe.shares)) for recipe in recipes] if shelves else recipes


def _stages(options: argparse.Namespace, each: Sequence[str]) -> list[tuple[str, str]]:
    """Size and name of the networks to train, in order. each: specialists, where none is named. STILL's is of the large size."""
    size, names = options.size, options.pattern or each
    generalists = [(size, GENERALIST)] if options.what in ("generalist", "all") else []
    if options.what not in ("specialist", "all"):
        return generalists
    specialists = [(size, name) for name in names if name != STILL and not SPECS[size].alone]
    large = [(QUALITY.name, GENERALIST)] if options.what == "all" and size != QUALITY.name else []
    return generalists + specialists + large + [(QUALITY.name, STILL)] * (STILL in names)


def _recipe(options: argparse.Namespace, size: str, name: str) -> Recipe:
    if name == GENERALIST:
        recipe = Recipe(f"{size}_{GENERALIST}", options.minutes, size, start=options.start, seed=options.seed)
        recipe = replace(recipe, rate=recipe.rate / 3) if options.start else recipe
    else:
        recipe = specialist(name, options.minutes / 3, size, options.weights, options.seed)
        recipe = replace(recipe, start=options.start or recipe.start)
    settings = {each: getattr(options, each) for each in ("loss", "attention", "steps", "batch")}
    return replace(recipe, **settings, thumbs=None if size == FAST.name else options.weights / f"{FAST.name}_{GENERALIST}.safetensors")
