"""A picture of a trace that `derain-video --trace` wrote: one lane for each thread, one box for each stage's work on a frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..models.picture import write as save
from .footage import Bytes, FootageError

LEFT, WIDTH, RIGHT, LANE, TOP = 180, 1280, 30, 44, 34
"""Pixels: of the names, of the time axis, right of it, of a lane's height, and above the first lane."""

COLOURS = ((196, 78, 82), (76, 114, 176), (85, 168, 104), (221, 132, 82), (129, 114, 179), (147, 120, 96), (100, 181, 205))
"""RGB of the stages, in the order in which they first work."""

Event = dict[str, Any]


def write(trace: Path, picture: Path, start: float, span: float) -> dict[str, float]:
    """Draws `span` seconds of a trace from `start` on; returns the share of them that each stage worked. FootageError if it is no trace."""
    try:
        names, work = _events(trace, start, span)
        lanes = drawn(work, names, start, span) if work else None
        shares = {stage: _busy(work, stage, start, span) for stage in dict.fromkeys(event["name"] for event in work)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, cv2.error) as error:
        raise FootageError(f"{trace}: not a trace; make one with derain-video IN OUT --trace {trace}") from error
    if lanes is None:
        raise FootageError(f"{trace}: nothing happens from {start:g} s to {start + span:g} s; give another --start")
    save(picture, lanes[..., ::-1])
    return shares


def _events(trace: Path, start: float, span: float) -> tuple[dict[int, str], list[Event]]:
    """Names of the threads, and what they worked on in that time."""
    events: list[Event] = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    work = [event for event in events if event["ph"] == "X" and event["ts"] + event["dur"] > 1e6 * start and event["ts"] < 1e6 * (start + span)]
    return names, work


def drawn(work: list[Event], names: dict[int, str], start: float, span: float) -> Bytes:
    """(H, W, 3) RGB."""
    lanes = {thread: row for row, thread in enumerate(dict.fromkeys(event["tid"] for event in work))}
    colours = dict(zip(dict.fromkeys(event["name"] for event in work), COLOURS * 9, strict=False))
    picture = np.full((TOP + LANE * len(lanes), LEFT + WIDTH + RIGHT, 3), 255, np.uint8)
    for tick in range(11):
        x = LEFT + tick * WIDTH // 10
        cv2.line(picture, (x, TOP - 8), (x, picture.shape[0]), (225, 225, 225))
        _say(picture, f"{1e3 * span * tick / 10:.0f} ms", (x - 22, 18), (90, 90, 90))
    for thread, row in lanes.items():
        _say(picture, names.get(thread, ""), (8, TOP + LANE * row + 26), (0, 0, 0))
    for event in work:
        begin, end = (LEFT + round(WIDTH * min(1.0, max(0.0, at / 1e6 - start) / span)) for at in (event["ts"], event["ts"] + event["dur"]))
        top = TOP + LANE * lanes[event["tid"]]
        cv2.rectangle(picture, (begin, top + 4), (max(begin, end - 1), top + LANE - 6), colours[event["name"]], cv2.FILLED)
        if end - begin > 24:
            _say(picture, str(event["args"]["frame"]), (begin + 3, top + 26), (255, 255, 255))
    return picture


def _busy(work: list[Event], stage: str, start: float, span: float) -> float:
    inside = [min(e["ts"] + e["dur"], 1e6 * (start + span)) - max(e["ts"], 1e6 * start) for e in work if e["name"] == stage]
    return float(sum(inside) / (1e6 * span))


def _say(picture: Bytes, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
