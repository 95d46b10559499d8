"""Work on the GPU at fixed addresses: planes are copied in, a CUDA graph is replayed, planes are copied out; all on one stream.

Used by the torch runtime, as it was run on an H200, and by the TensorRT runtime, which was run on no GPU by us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIZES = 4
"""Sizes for which a network is kept captured: frames and their thumbnails, of two streams."""

WARM_UPS = 3
"""Runs before the capture, in which libraries choose their kernels and allocate."""

Work = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]


class Captured:
    """`work` for inputs of the shapes and types of `feed`. It must enqueue on the current stream only, and not synchronise."""

    def __init__(self, work: Work, feed: Mapping[str, NDArray[Any]], stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._host = {name: torch.from_numpy(np.empty_like(array)).pin_memory() for name, array in feed.items()}
        self._inputs = {name: tensor.to(stream.device) for name, tensor in self._host.items()}
        self._copy_in(feed)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work(self._inputs)
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            self._outputs = list(work(self._inputs))

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self._copy_in(feed)
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            results = [_pinned(output) for output in self._outputs]
            for result, output in zip(results, self._outputs, strict=True):
                result.copy_(output, non_blocking=True)
        self._stream.synchronize()
        return [result.numpy() for result in results]

    def _copy_in(self, feed: Mapping[str, NDArray[Any]]) -> None:
        with torch.cuda.stream(self._stream):
            for name, array in feed.items():
                self._host[name].copy_(tensor(array))  # by torch's threads, many times quicker than by one
                self._inputs[name].copy_(self._host[name], non_blocking=True)


class Sizes:
    """A network captured for each size that it meets. work: what is captured for one feed. busy: one lock for all that share a stream, since
    nothing else may happen on it while a graph is captured."""

    def __init__(self, work: Callable[[Mapping[str, NDArray[Any]]], Work], stream: torch.cuda.Stream, busy: Lock) -> None:
        self._work, self._stream, self._busy = work, stream, busy
        self._captured: dict[object, Captured] = {}

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        key = signature(feed)
        with self._busy, torch.inference_mode():
            if key not in self._captured:
                if len(self._captured) == SIZES:
                    del self._captured[next(iter(self._captured))]
                self._captured[key] = Captured(self._work(feed), feed, self._stream)
            self._captured[key] = self._captured.pop(key)  # the latest last
            return self._captured[key](feed)


def tensor(array: NDArray[Any]) -> Tensor:
    """An array that is only read, as a tensor of the same memory if it is writeable: torch warns of any other."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _pinned(like: Tensor) -> Tensor:
    """Fresh page-locked memory, which torch takes from a pool: the caller owns it, and the copy out is asynchronous."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)


def signature(feed: Mapping[str, NDArray[Any]]) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shapes and types of the inputs: what a captured graph is bound to."""
    return tuple((array.shape, array.dtype.str) for array in feed.values())
