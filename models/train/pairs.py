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
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

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
    """One picture, or the frames of one clip in order: rainy[i] shows what clean[i] does. The same file twice: both halves of it."""

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
        yield from (Pair(path.stem, (path,), (path,)) for path in _below(folder))


def _siblings(rainy: Path, clean: Path) -> Iterator[Pair]:
    """Pictures beside pictures; sub-folders are clips, but in SPA-Data, whose sub-folders are scenes of single pictures."""
    stills, partners = _files(rainy), _files(clean)
    clips = sorted(path for path in rainy.iterdir() if path.is_dir() and _files(path))
    if rainy.name == "real_world":
        stills, partners, clips = _below(rainy), _below(clean), []
    yield from _matched(stills, partners, rainy, clean)
    for clip in clips:
        frames = list(_matched(_files(clip), _files(clean / clip.name), clip, clean / clip.name))
        yield Pair(clip.name, tuple(f.rainy[0] for f in frames), tuple(f.clean[0] for f in frames))


def _sequences(folder: Path) -> Iterator[Pair]:
    """NTURain: a1_Rain beside a1_GT, t1_Rain_01 beside t1_GT; frames in the order of their names. Its real rain has no truth."""
    if not any(folder.glob("*_GT")):
        return
    for rainy in sorted(folder.glob("*_Rain*")):
        clean = folder / (re.sub(r"_Rain.*", "", rainy.name) + "_GT")
        if not clean.is_dir():
            raise PairError(f"{rainy}: no folder {clean.name} beside it, which would hold the clean frames")
        yield Pair(rainy.name, tuple(_files(rainy)), tuple(_files(clean)))


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
        yield Pair(path.stem, (path,), (found,))
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
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise PairError(f"{path}: not a picture that OpenCV reads; fetch it again")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _halves(both: RGB) -> tuple[RGB, RGB]:
    middle = both.shape[1] // 2
    return both[:, :middle], both[:, middle : 2 * middle]
