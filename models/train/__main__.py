"""`derain-train`: everything that ships, from folders of clean clips and stills."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..spec import RAINY, SPECS
from ..store import WEIGHTS
from .footage import load
from .judge import Judge
from .loop import Recipe, run, specialist


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    top = argparse.ArgumentParser(prog="derain-train", description="Train the networks of derain-video.")
    top.add_argument("what", choices=("clip", "generalist", "specialist", "all", "preview"))
    top.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="clean clips and stills, searched with all their sub-folders")
    top.add_argument("--val", type=Path, nargs="+", help="clean clips and stills to judge by")
    top.add_argument("--minutes", type=float, default=60, help="time of each run (default: %(default)s)")
    top.add_argument("--size", choices=sorted(SPECS), default="fast")
    top.add_argument("--pattern", choices=RAINY, action="append", help="specialists to train (default: each)")
    top.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights (default: the package's own)")
    top.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and logs (default: %(default)s)")
    top.add_argument("--batch", type=int, default=16)
    top.add_argument("--seed", type=int, default=1)
    top.add_argument("--threads", type=int, default=0, help="of the training step (default: PyTorch's choice)")
    top.add_argument("--workers", type=int, default=1, help="processes that render rain")
    top.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parser().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    judge = Judge(load(options.val)) if options.val else None
    places = (options.weights, options.runs, options.device, options.workers)
    if options.what in ("generalist", "all"):
        run(Recipe(f"{options.size}_generalist", options.minutes, options.size, batch=options.batch, seed=options.seed), options.folders, judge, *places)
    if options.what in ("specialist", "all"):
        for pattern in options.pattern or RAINY:
            run(specialist(pattern, options.minutes, options.size, options.weights, options.seed), options.folders, judge, *places)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
