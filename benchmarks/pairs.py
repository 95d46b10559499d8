"""The field's figures on paired public sets: PSNR-Y and SSIM-Y of RGB pictures by MATLAB's luma, per set and for the mixture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..models.picture import read
from ..models.train.pairs import PICTURES, RGB, Pair, PairedSet
from ..pipeline.arrays import Derainer
from . import metrics
from .footage import FootageError

NAMED = ("PReNet", "MPRNet", "Restormer", "IDT", "DRSformer", "FADformer", "CLIP-RPN")
"""Rows of the field's tables, filled by `--results NAME=FOLDER` from somebody's own runs."""

MIXTURE = "mixture"


@dataclass(frozen=True)
class Score:
    """Means over the pictures of a set (or of all of them) for one method."""

    set: str
    method: str
    pictures: int
    psnr: float
    ssim: float


@dataclass(frozen=True)
class _Picture:
    set: str
    method: str
    psnr: float
    ssim: float


def measure(sets: Sequence[PairedSet], derainer: Derainer, results: Mapping[str, Path]) -> list[Score]:
    """Input, ours and the pictures in the folders of `results`, per set and for all pictures as one mixture."""
    found = [picture for group in sets for pair in group.pairs for picture in _pictures(group, pair, derainer, results)]
    names = [group.name for group in sets]
    scores = [_score(name, found, [p for p in found if p.set == name]) for name in names]
    whole = _score(MIXTURE, found, found) if len(names) > 1 else []
    return [score for part in scores for score in part] + whole


def _score(name: str, everything: Sequence[_Picture], mine: Sequence[_Picture]) -> list[Score]:
    methods = list(dict.fromkeys(picture.method for picture in everything))
    parts = {method: [picture for picture in mine if picture.method == method] for method in methods}
    return [Score(name, m, len(p), _mean([x.psnr for x in p]), _mean([x.ssim for x in p])) for m, p in parts.items()]


def _pictures(group: PairedSet, pair: Pair, derainer: Derainer, results: Mapping[str, Path]) -> Iterator[_Picture]:
    name = group.name
    rainy, clean = zip(*(pair.pictures(i) for i in range(len(pair.rainy))), strict=True)
    try:
        outputs = {"input": rainy, "ours": ours(rainy, derainer)}
    except ValueError as error:
        raise FootageError(f"{name}, {pair.name}: {error}") from error
    outputs |= {method: tuple(_result(folder / name, pair, i, group.flat) for i in range(len(rainy))) for method, folder in results.items()}
    for method, pictures in outputs.items():
        for out, truth in zip(pictures, clean, strict=True):
            a, b = metrics.matlab_luma(_fitting(out, truth, method, pair)), metrics.matlab_luma(truth)
            yield _Picture(name, method, metrics.psnr(a, b), metrics.ssim(a, b))


def ours(rainy: Sequence[RGB], derainer: Derainer) -> tuple[RGB, ...]:
    """The pipeline on RGB frames of one clip, or on one picture."""
    return tuple(np.asarray(picture, np.uint8) for picture in derainer.film(rainy))


def _result(folder: Path, pair: Pair, index: int, flat: bool) -> RGB:
    """Another method's picture in FOLDER/SET: at the rainy file's place in its set, or at once in it where names suffice.

    Named as the rainy file or as the clean one, with any picture's ending.
    """
    place = folder / pair.name if len(pair.rainy) > 1 else (folder / pair.name).parent
    places = [place, folder] if flat and len(pair.rainy) == 1 else [place]
    for stem, each in product((pair.rainy[index].stem, pair.clean[index].stem), places):
        for path in (each / f"{stem}{ending}" for ending in sorted(PICTURES)):
            picture = read(path) if path.is_file() else None
            if picture is not None:
                return np.ascontiguousarray(picture[..., ::-1], np.uint8)
    raise FootageError(f"{place}: no result named {pair.rainy[index].stem} or {pair.clean[index].stem} in it; complete the folder")


def _fitting(out: RGB, truth: RGB, method: str, pair: Pair) -> RGB:
    if out.shape != truth.shape:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in (out, truth))
        raise FootageError(f"{method}, {pair.name}: the result and the truth have {sizes} pixels; they must agree")
    if min(out.shape[:2]) < metrics.LEAST:
        raise FootageError(f"{method}, {pair.name}: has less than {metrics.LEAST} pixels a side, too few to measure; take it out of the folder")
    return out


def folders(given: Sequence[str]) -> dict[str, Path]:
    """NAME=FOLDER by name. FootageError for one without a folder."""
    parts = [text.partition("=") for text in given]
    for name, count in Counter(name for name, _, _ in parts).items():
        if count > 1 or name in ("input", "ours"):
            raise FootageError(f"--results {name}=...: that name is taken; give each row a name of its own")
    for name, _, folder in parts:
        if not (name and folder and Path(folder).is_dir()):
            raise FootageError(f"--results {name}={folder}: give NAME=FOLDER, a folder of pictures in FOLDER/SET")
    return {name: Path(folder) for name, _, folder in parts}


def table(scores: Sequence[Score]) -> str:
    """PSNR-Y / SSIM-Y, a row for each method and a column for each set; methods that nobody ran stay empty."""
    sets = list(dict.fromkeys(score.set for score in scores))
    cells = {(score.method, score.set): f"{score.psnr:.2f} / {score.ssim:.4f}" for score in scores}
    methods = list(dict.fromkeys([score.method for score in scores if score.method != "ours"] + list(NAMED) + ["ours"]))
    wide = max(18, *(len(name) + 2 for name in sets))
    head = f"{'PSNR-Y / SSIM-Y':<16}" + "".join(f"{name:>{wide}}" for name in sets)
    return "\n".join([head, *(f"{m:<16}" + "".join(f"{cells.get((m, s), '-'):>{wide}}" for s in sets) for m in methods)])


def as_json(scores: Sequence[Score]) -> dict[str, Any]:
    return {"pairs": [asdict(score) for score in scores]}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
