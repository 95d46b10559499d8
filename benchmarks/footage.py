"""Clean clips and stills, as planes in memory, with what a manifest says of the camera."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .metrics import LEAST

CLIPS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m")
STILLS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

Bytes = NDArray[np.uint8]


class FootageError(ValueError):
    """A folder or file that cannot serve as footage; the message is one line for the user."""


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one shot, 4:2:0, 8 bit; a still is a clip of one frame.

    y: (T, H, W) uint8, H and W even; uv: (T, 2, H/2, W/2) uint8. camera: "static", "moving", "still" or "" when unknown.
    """

    name: str
    y: Bytes
    uv: Bytes
    fps: float = 25.0
    camera: str = ""

    def __len__(self) -> int:
        return len(self.y)

    def with_planes(self, y: Bytes, uv: Bytes) -> Clip:
        return replace(self, y=y, uv=uv)

    def at(self, places: Sequence[int]) -> Clip:
        """The frames in these places."""
        return self.with_planes(self.y[list(places)], self.uv[list(places)])


def footage(folder: Path, frames: int = 0, clips: int = 0) -> list[Clip]:
    """The clips and stills under a folder, by name; at most `clips` of each sort and `frames` of each clip (0: all)."""
    if not folder.is_dir():
        raise FootageError(f"{folder}: no such folder; give one that holds clean clips or stills")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in CLIPS + STILLS)
    if not files:
        raise FootageError(f"{folder}: no clips ({' '.join(CLIPS)}) and no stills ({' '.join(STILLS)}) in it")
    cameras = _cameras(folder)
    moving = [path for path in files if path.suffix.lower() in CLIPS]
    stills = [path for path in files if path.suffix.lower() in STILLS]
    chosen = _spread(moving, clips) + _spread(stills, clips)
    names = _names(folder, files)
    return [replace(read(path, frames, cameras.get(path.name, "")), name=names[path]) for path in chosen]


def _names(folder: Path, files: Sequence[Path]) -> dict[Path, str]:
    """What each file is called in figures: its name without ending, or where others are called so, too, its place in the folder."""
    known = Counter(path.stem for path in files)
    return {path: path.stem if known[path.stem] == 1 else path.relative_to(folder).as_posix() for path in files}


def read(path: Path, frames: int = 0, camera: str = "") -> Clip:
    """One file, at most `frames` frames of it (0: all), cropped to an even size."""
    try:
        y, uv = decode(str(path), frames)
        rate = _rate(path)
    except (av.FFmpegError, IndexError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FootageError(f"{path}: cannot be read as a picture or video: {why}; give another, or take it out of the folder") from error
    if min(y.shape[1:]) < LEAST:
        raise FootageError(f"{path}: has less than {LEAST} pixels a side, too few to measure; take it out of the folder")
    return Clip(path.stem, y, uv, rate, "still" if path.suffix.lower() in STILLS else camera)


def enlarged(clip: Clip, lines: int) -> Clip:
    """The clip with so many lines (columns, if those are fewer), as a camera sees it whose lens resolves no more; as it is if it has them."""
    height, width = clip.y.shape[1:]
    scale = lines / min(height, width)
    return clip if scale <= 1 else resized(clip, (round(width * scale / 2) * 2, round(height * scale / 2) * 2))


def resized(clip: Clip, size: tuple[int, int]) -> Clip:
    """The clip at another size. size: even width and height."""

    def scaled(planes: Iterable[Bytes], width: int, height: int) -> Bytes:
        how = cv2.INTER_CUBIC if width > clip.y.shape[2] else cv2.INTER_AREA
        return np.stack([cv2.resize(plane, (width, height), interpolation=how) for plane in planes], dtype=np.uint8)

    width, height = size
    return clip.with_planes(scaled(clip.y, width, height), np.stack([scaled(uv, width // 2, height // 2) for uv in clip.uv]))


def to_and_fro(length: int, count: int) -> list[int]:
    """Places of `count` frames of a clip that is played forth and back, so that nothing jumps."""
    return list(islice(cycle([*range(length), *range(length - 2, 0, -1)]), count))


def decode(file: str | BinaryIO, frames: int = 0) -> tuple[Bytes, Bytes]:
    """Planes y (T, H, W), uv (T, 2, H/2, W/2) of a file's first `frames` frames (0: all). ValueError where there is none."""
    with av.open(file, "r") as box:
        planes = [_planes(each) for each in islice(box.decode(video=0), frames or None)]
    if not planes:
        raise ValueError("it holds no frame")
    y, uv = (np.stack(each) for each in zip(*planes, strict=True))
    return y, uv


def frame(y: Bytes, uv: Bytes) -> av.VideoFrame:
    """Planes of one frame as a yuv420p frame."""
    return av.VideoFrame.from_ndarray(np.concatenate([y, uv.reshape(-1, y.shape[1])]), format="yuv420p")


def _rate(path: Path) -> float:
    with av.open(str(path)) as box:
        return float(box.streams.video[0].average_rate or 25)


def _planes(frame: av.VideoFrame) -> tuple[Bytes, Bytes]:
    height, width = frame.height // 2 * 2, frame.width // 2 * 2
    if (height, width) != (frame.height, frame.width) or frame.format.name not in ("yuv420p", "yuvj420p"):
        return from_rgb(_array(frame, "rgb24")[:height, :width])
    flat = _array(frame, frame.format.name)
    return flat[:height], flat[height:].reshape(2, height // 2, width // 2)


def from_rgb(rgb: Bytes) -> tuple[Bytes, Bytes]:
    """(H, W, 3) uint8 RGB of even size as planes (H, W) and (2, H/2, W/2), BT.601 video range."""
    height, width = rgb.shape[:2]
    flat = _array(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"), "yuv420p")
    return flat[:height], flat[height:].reshape(2, height // 2, width // 2)


def rgb(y: Bytes, uv: Bytes) -> Bytes:
    """Planes of one frame as (H, W, 3) uint8 RGB, read as BT.601 video range."""
    return _array(frame(y, uv), "rgb24")


def _array(frame: av.VideoFrame, form: str) -> Bytes:
    return np.asarray(frame.to_ndarray(format=form), np.uint8)


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the files, evenly spread over the list (0: all)."""
    if not count or count >= len(files):
        return list(files)
    return [files[i * len(files) // count] for i in range(count)]


def _cameras(folder: Path) -> dict[str, str]:
    """File name -> camera, from the nearest manifest.csv in the folder or in one of the two above it."""
    for place in (folder, *folder.resolve().parents[:2]):
        if (place / "manifest.csv").is_file():
            return {Path(row["file"]).name: row.get("camera", "") for row in _rows(place / "manifest.csv") if row.get("file")}
    return {}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        yield from csv.DictReader(file)
