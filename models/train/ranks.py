"""Processes that train one network together, started by torchrun: each sees samples of its own, and their gradients are averaged.

Every function is there without torchrun too, for the one process that there is then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins what torchrun started, and says which device is this process's: of several GPUs its own. ValueError if there are too few."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        device = own_gpu(int(os.environ["LOCAL_RANK"]), torch.cuda.device_count())
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def own_gpu(index: int, there: int) -> str:
    """The device of process `index` of a machine with `there` GPUs. ValueError if that is none."""
    if index >= there:
        raise ValueError(f"torchrun: process {index + 1} of this machine finds {there} GPUs; give --nproc-per-node {max(1, there)}, or --device cpu")
    return f"cuda:{index}"


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """Which of them this is: 0 judges, logs, and writes the files."""
    return distributed.get_rank() if _several() else 0


def average(tensors: list[Tensor]) -> None:
    """Puts the mean over the processes in the place of each tensor; the same bits everywhere. All of one dtype, on this process's device."""
    if count() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= count()
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def agreed(numbers: dict[str, float]) -> dict[str, float]:
    """The mean over the processes of each number."""
    if count() == 1 or not numbers:
        return numbers
    box = torch.tensor(list(numbers.values()), dtype=torch.float64, device=_here())
    average([box])
    return dict(zip(numbers, box.tolist(), strict=True))


def told(number: float) -> float:
    """What the first process says; all wait for it."""
    if count() == 1:
        return number
    box = torch.tensor(number, dtype=torch.float64, device=_here())
    distributed.broadcast(box, 0)
    return float(box)


def _here() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"
