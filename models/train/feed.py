"""Processes that make samples beside the training step.

Samples are pickled before they are queued: a queue would hand tensors over by torch's shared memory, which took nearly twice as long.
A thread unpickles them while the trainer waits for its device.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import torch

from .footage import Scene, load
from .rain import Storms, bank, pattern_at

Item = TypeVar("Item")
Make = Callable[[torch.Generator, Scene, Storms, str], Item]


@dataclass(frozen=True)
class Rendered(Generic[Item]):
    """A source: what `make` makes of random scenes below `folders` and patterns drawn by `shares`, without end.

    make: a module's function of (generator, scene, storms, pattern); storms: kinds of rain that are rendered first.
    """

    make: Make[Item]
    folders: list[Path]
    shares: dict[str, float]
    storms: int = 240

    def __call__(self, seed: int) -> Iterator[Item]:
        scenes = load(self.folders)
        g = torch.Generator().manual_seed(seed)
        storms = bank(g, self.storms)
        while True:
            scene = scenes[int(torch.randint(len(scenes), (), generator=g))]
            yield self.make(g, scene, storms, pattern_at(g, self.shares))


class Feed(Generic[Item]):
    """What `source`, called with a seed, yields in each of some processes. Used by `with`; the processes end with it."""

    def __init__(self, source: Callable[[int], Iterator[Item]], seed: int, workers: int = 1) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that computed with threads hangs
        self.packed: multiprocessing.Queue[bytes] = context.Queue(8)
        self.processes = [context.Process(target=_work, args=(source, seed + k, self.packed), daemon=True) for k in range(workers)]
        self.items: queue.Queue[Item | Exception] = queue.Queue(16)
        self.ended = threading.Event()
        self.unpacking = threading.Thread(target=self._unpack, daemon=True)

    def __enter__(self) -> Feed[Item]:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which they inherit: Ctrl-C is for the trainer, who ends them
        try:
            for process in self.processes:
                process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        self.unpacking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.unpacking.join(5)  # a process that was killed within a sample would hold it for ever
        for process in self.processes:
            process.terminate()
            process.join()

    def get(self) -> Item:
        """The next item, waited for. What was wrong with the user's files is raised here; ChildProcessError if a process died."""
        while True:
            try:
                item = self.items.get(timeout=5)
            except queue.Empty:
                if not all(process.is_alive() for process in self.processes):
                    raise ChildProcessError("a process that makes samples died: is there memory enough? give fewer --workers") from None
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def ready(self) -> bool:
        """Whether an item is there without waiting."""
        return not self.items.empty()

    def _unpack(self) -> None:
        while not self.ended.is_set():
            with suppress(queue.Empty):
                self._hold(pickle.loads(self.packed.get(timeout=0.5)))

    def _hold(self, item: Item | Exception) -> None:
        """Waits for room."""
        while not self.ended.is_set():
            with suppress(queue.Full):
                return self.items.put(item, timeout=0.5)


def _work(source: Callable[[int], Iterator[Item]], seed: int, out: multiprocessing.Queue[bytes]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    trainer = multiprocessing.parent_process()
    assert trainer is not None  # this runs in a child
    try:
        for item in source(seed):
            if not _offer(out, item, trainer):
                out.cancel_join_thread()  # what nobody will read must not keep this process alive
                return
    except (OSError, ValueError) as error:
        _offer(out, error, trainer)


def _offer(out: multiprocessing.Queue[bytes], item: Item | Exception, trainer: BaseProcess) -> bool:
    """Puts an item as soon as there is room; gives up when the trainer is gone, so that no process outlives it."""
    packed = pickle.dumps(item)
    while trainer.is_alive():
        try:
            out.put(packed, timeout=5)
        except queue.Full:
            continue
        return True
    return False
