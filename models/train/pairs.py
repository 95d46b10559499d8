"""Rainy and clean pictures in the folders that the public sets come in. Imports no torch, so that measuring needs none.

Found below a root, at any depth, by the names of two sibling folders:

    Rain200H, Rain200L    rain/norain-1x2.png (or rain/X2/...)      norain/norain-1.png; Rain100's rain-1.png too
    DDN-Data (Rain1400)   rainy_image/901_1.jpg, 14 to one          ground_truth/901.jpg
    DID-Data (Rain1200)   Rain_Heavy/train2018new/1.jpg             one picture: rainy on the left, clean on the right
    SPA-Data              real_world/001/1.png or rain/000.png      real_world_gt/001/1.png or gt/000gt.png
    NTURain               a1_Rain/00001.jpg, t1_Rain_01/...         a1_GT/00001.jpg, t1_GT/...: frames of one clip
    any, VRDS             input/1.png, or input/clip/1.png          target/1.png, or target/clip/1.png: frames of one clip
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..picture import read

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
SIBLINGS = (
    ("rain/X2", "norain"),
    ("rain", "norain"),
    ("rainy", "clean"),
    ("rain", "gt"),
    ("rainy_image", "ground_truth"),
    ("real_world", "real_world_gt"),
    ("input", "target"),
    ("input", "gt"),
)
"""Folder of rainy pictures, and its sibling with the clean ones."""

SPLIT = ("Rain_Heavy", "Rain_Medium", "Rain_Light")
"""DID-Data's folders, whose pictures hold both halves."""

RGB = NDArray[np.uint8]


class PairError(ValueError):
    """Folders that do not pair up; one line that names the file and what was looked for."""


@dataclass(frozen=True)
class Pair:
    """One picture, or the frames of one clip in order: rainy[i] shows what clean[i] does. The same file twice: both halves of it.

    name: the rainy one's place in its set's folder of such, without ending.
    """

    name: str
    rainy: tuple[Path, ...]
    clean: tuple[Path, ...]

    def __post_init__(self) -> None:
        if len(self.rainy) != len(self.clean):
            counts = f"{len(self.rainy)} rainy frames and {len(self.clean)} clean ones"
            raise PairError(f"{self.name}: {counts}; complete the clip")

    def pictures(self, index: int) -> tuple[RGB, RGB]:
        """(rainy, clean), each (H, W, 3) uint8 RGB of the same size. PairError if they cannot be read or differ in size."""
        rainy, clean = self.rainy[index], self.clean[index]
        if rainy == clean:
            return _halves(_picture(rainy))
        first, second = _picture(rainy), _picture(clean)
        if first.shape != second.shape:
            sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in (first, second))
            raise PairError(f"{rainy} and {clean}: {sizes} pixels; a pair has one size")
        return first, second


@dataclass(frozen=True)
class PairedSet:
    """The pairs of one folder; name: its path below the root."""

    name: str
    pairs: tuple[Pair, ...]

    @cached_property
    def flat(self) -> bool:
        """Whether names tell its pairs apart without their sub-folders."""
        return len({Path(pair.name).name for pair in self.pairs}) == len(self.pairs)


def find(root: Path) -> list[PairedSet]:
    """Every paired set below `root`, by name. PairError if there is none, or if a picture has no partner."""
    if not root.is_dir():
        raise PairError(f"{root}: no such folder; give the one that holds the sets")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    sets = [PairedSet(_name(folder, root), tuple(pairs)) for folder in folders if (pairs := list(_pairs(folder)))]
    if not sets:
        known = ", ".join(f"{rainy} beside {clean}" for rainy, clean in SIBLINGS)
        raise PairError(f"{root}: no paired folders in it; looked for {known}, *_Rain beside *_GT, {', '.join(SPLIT)}")
    return sets


def _name(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else root.name


def _pairs(folder: Path) -> Iterator[Pair]:
    """The pairs whose two folders, or whose pictures of two halves, lie right in `folder`."""
    for rainy, clean in SIBLINGS:
        if (folder / rainy).is_dir() and (folder / clean).is_dir():
            yield from _siblings(folder / rainy, folder / clean)
            break
    yield from _sequences(folder)
    if folder.name in SPLIT:
        yield from (Pair(_key(path, folder), (path,), (path,)) for path in _below(folder))


def _siblings(rainy: Path, clean: Path) -> Iterator[Pair]:
    """Pictures beside pictures; sub-folders are clips, but in SPA-Data, whose sub-folders are scenes of single pictures."""
    stills, partners = _files(rainy), _files(clean)
    clips = sorted(path for path in rainy.iterdir() if path.is_dir() and _files(path))
    if rainy.name == "real_world":
        stills, partners, clips = _below(rainy), _below(clean), []
    yield from _matched(stills, partners, rainy, clean)
    if clips:
        _none_left(clean, {path.name for path in clean.iterdir() if path.is_dir() and _files(path)} - {clip.name for clip in clips}, rainy)
    for clip in clips:
        frames = list(_matched(_files(clip), _files(clean / clip.name), clip, clean / clip.name))
        yield Pair(clip.name, tuple(f.rainy[0] for f in frames), tuple(f.clean[0] for f in frames))


def _sequences(folder: Path) -> Iterator[Pair]:
    """NTURain: a1_Rain beside a1_GT, t1_Rain_01 beside t1_GT; frames in the order of their names. Its real rain has no truth."""
    truths = {path.name for path in folder.glob("*_GT") if path.is_dir()}
    if not truths:
        return
    partners = {path: re.sub(r"_Rain.*", "", path.name) + "_GT" for path in sorted(folder.glob("*_Rain*")) if path.is_dir()}
    for rainy, name in partners.items():
        if name not in truths:
            raise PairError(f"{rainy}: no folder {name} beside it, which would hold the clean frames")
        yield _sequence(rainy, folder / name)
    _none_left(folder, truths - set(partners.values()), folder)


def _sequence(rainy: Path, clean: Path) -> Pair:
    """Where some frames have the same names on both sides and others have none of it, one side begins earlier or lacks some."""
    pair = Pair(rainy.name, tuple(_files(rainy)), tuple(_files(clean)))
    names, others = ({path.stem for path in paths} for paths in (pair.rainy, pair.clean))
    if not names:
        raise PairError(f"{rainy}: no picture in it; complete the clip, or take its folders out of the set")
    if names & others and (apart := sorted(names ^ others)):
        raise PairError(f"{rainy} and {clean.name}: frame {apart[0]} is in one of them alone; name the frames alike")
    return pair


def _none_left(clean: Path, names: set[str], rainy: Path) -> None:
    """PairError for clips of clean frames alone."""
    if names:
        raise PairError(f"{clean / min(names)}: no rainy clip for it in {rainy}; complete the set")


def _matched(rainy: list[Path], clean: list[Path], folder: Path, other: Path) -> Iterator[Pair]:
    """Each rainy picture with its clean one, which may have several. No picture is left over on either side."""
    partners = {_key(path, other): path for path in clean}
    used: set[Path] = set()
    for path in rainy:
        wanted = _partners(_key(path, folder))
        found = next((partners[name] for name in wanted if name in partners), None)
        if found is None:
            raise PairError(f"{path}: no clean picture for it in {other}; looked for {', '.join(wanted)}")
        used.add(found)
        yield Pair(_key(path, folder), (path,), (found,))
    if left := sorted(set(clean) - used):
        raise PairError(f"{left[0]}: no rainy picture for it in {folder} ({len(left)} of {len(clean)} are without one); complete the set")


def _partners(key: str) -> list[str]:
    """Names that the clean picture of a rainy one may have, the likeliest first."""
    plain = re.sub(r"x\d+$", "", key)
    names = [key, plain, re.sub(r"(^|/)rain-", r"\1norain-", key), f"{key}gt", re.sub(r"_\d+$", "", key)]
    return list(dict.fromkeys(names))


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES) if folder.is_dir() else []


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def _picture(path: Path) -> RGB:
    bgr = read(path)
    if bgr is None:
        raise PairError(f"{path}: not a picture that OpenCV reads; fetch it again")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _halves(both: RGB) -> tuple[RGB, RGB]:
    middle = both.shape[1] // 2
    return both[:, :middle], both[:, middle : 2 * middle]
