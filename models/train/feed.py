"""Processes that render beside the training step."""

from __future__ import annotations

import queue
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import torch
import torch.multiprocessing as multiprocessing

from .footage import Scene, load
from .rain import Storm, bank, pattern_at

Item = TypeVar("Item")
Make = Callable[[torch.Generator, Scene, dict[str, list[Storm]], str], Item]


class Feed(Generic[Item]):
    """What `make` makes of random scenes below `folders` and patterns drawn by `shares`, without end.

    make: a module's function of (generator, scene, storms, pattern); storms: kinds of rain that each process renders first.
    Used by `with`; the processes end with it.
    """

    def __init__(self, make: Make[Item], folders: list[Path], shares: dict[str, float], seed: int, workers: int = 1, storms: int = 240) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that computed with threads hangs
        self.queue: multiprocessing.Queue[Item] = context.Queue(8)
        self.processes = [
            context.Process(target=_work, args=(make, folders, shares, seed + k, storms, self.queue), daemon=True) for k in range(workers)
        ]

    def __enter__(self) -> Feed[Item]:
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.terminate()
            process.join()

    def get(self) -> Item:
        """The next item, waited for. RuntimeError if a renderer died; its traceback is on standard error."""
        while True:
            try:
                return self.queue.get(timeout=5)
            except queue.Empty:
                if not all(process.is_alive() for process in self.processes):
                    raise RuntimeError("a process that renders rain died; its error is above") from None

    def ready(self) -> bool:
        """Whether an item is there without waiting."""
        return not self.queue.empty()


def _work(make: Make[Item], folders: list[Path], shares: dict[str, float], seed: int, kinds: int, out: multiprocessing.Queue[Item]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scenes = load(folders)
    g = torch.Generator().manual_seed(seed)
    storms = bank(g, kinds)
    trainer = multiprocessing.parent_process()
    while trainer is not None and trainer.is_alive():
        scene = scenes[int(torch.randint(len(scenes), (), generator=g))]
        _offer(out, make(g, scene, storms, pattern_at(g, shares)), trainer)


def _offer(out: multiprocessing.Queue[Item], item: Item, trainer: BaseProcess) -> None:
    """Puts an item as soon as there is room; gives up when the trainer is gone, so that no renderer outlives it."""
    while trainer.is_alive():
        try:
            out.put(item, timeout=5)
        except queue.Full:
            continue
        return
