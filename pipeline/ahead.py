"""Work ahead of the one who waits: by a thread that fills a bounded queue, or by several on items that do not depend on each other."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

WAIT = 0.05
"""Longest time in seconds that a full queue keeps the thread from noticing that nobody wants more."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items, made by a thread that runs up to `depth` of them ahead.

    An error of `items` is raised here, after the items before it. When this ends or is closed, so is `items`, and the
    thread has gone. Whoever stops early, by an error say, closes it.
    """
    filled: queue.Queue[T | _End] = queue.Queue(depth)
    halt = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, filled, halt), name="derain-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := filled.get(), _End):
            yield item
        if item.error:
            raise item.error
    finally:
        halt.set()
        thread.join()


def _fill(items: Iterator[T], filled: queue.Queue[T | _End], halt: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(filled, item, halt):
                break
        if isinstance(items, Generator):
            items.close()
    except BaseException as fault:  # every kind of fault is raised in the thread that waits for it
        error = fault
    _put(filled, _End(error), halt)


def _put(filled: queue.Queue[T | _End], item: T | _End, halt: threading.Event) -> bool:
    """False if nobody wants more."""
    while not halt.is_set():
        try:
            filled.put(item, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False


def spread(calls: Iterator[Callable[[], T]], workers: int) -> Generator[T, None, None]:
    """What each of `calls` returns, in order; up to `workers` threads make them at once.

    No more than `workers` calls are taken before the first of them is given: with one, each call waits for the one before it.
    An error of `calls` is raised after what they gave before it.
    """
    going: deque[Future[T]] = deque()
    fault: Exception | None = None
    with ThreadPoolExecutor(workers, "derain-spread") as pool:
        while not fault:
            try:
                going.append(pool.submit(next(calls)))
            except StopIteration:
                break
            except Exception as error:
                fault = error
            else:
                if len(going) == workers:
                    yield going.popleft().result()
        while going:
            yield going.popleft().result()
    if fault:
        raise fault
