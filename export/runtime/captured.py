"""Work on the GPU at fixed addresses: planes are copied in, a CUDA graph is replayed, planes are copied out; all on one stream.

Used by the torch runtime, which was run on an H200 while captures kept other threads off the GPU and were made on that one stream (commit e465e89),
and by the TensorRT runtime. No GPU has run that one, nor what is fed with tensors that are on the GPU and answers with such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import GraphError

SIZES = 4
"""Sizes for which a network is kept captured: frames and their thumbnails, of two streams."""

WARM_UPS = 3
"""Runs before the capture, in which libraries choose their kernels and allocate."""

Work = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
Feed = Mapping[str, NDArray[Any] | Tensor]


class Captured:
    """`work` for inputs of the shapes and types of `feed`. It must enqueue on the current stream only, and not synchronise.

    Results are arrays if all inputs are, else tensors on the GPU. Other threads may use the GPU meanwhile.
    """

    def __init__(self, work: Work, feed: Feed, stream: torch.cuda.Stream) -> None:
        self._work = work  # a graph holds addresses alone: what lies there goes with the work
        self._stream, self._arrays = stream, arrays(feed)
        self._host = {name: pinned(tensor(value)) for name, value in feed.items() if isinstance(value, np.ndarray)}
        self._inputs = {name: torch.empty_like(tensor(value), device=stream.device) for name, value in feed.items()}
        self._copy_in(feed)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work(self._inputs)
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # On a stream of torch's own: earlier results, freed by other threads meanwhile, would put events of theirs into a capture on this one.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = list(work(self._inputs))

    def __call__(self, feed: Feed) -> list[Any]:
        self._copy_in(feed)
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            results = [pinned(output) if self._arrays else torch.empty_like(output) for output in self._outputs]
            for result, output in zip(results, self._outputs, strict=True):
                result.copy_(output, non_blocking=True)
        self._stream.synchronize()
        return [result.numpy() for result in results] if self._arrays else results

    def _copy_in(self, feed: Feed) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())  # on which tensors are made
        with torch.cuda.stream(self._stream):
            for name, value in feed.items():
                if name in self._host:
                    value = self._host[name].copy_(tensor(value))  # by torch's threads, many times quicker than by one
                self._inputs[name].copy_(tensor(value), non_blocking=True)


class Sizes:
    """A network captured for each size that it meets. work: what is captured for one feed. busy: one lock for all networks, since one graph is
    captured at a time. GraphError if the GPU has no memory left."""

    def __init__(self, work: Callable[[Feed], Work], stream: torch.cuda.Stream, busy: Lock) -> None:
        self._work, self._stream, self._busy = work, stream, busy
        self._captured: dict[object, Captured] = {}

    def __call__(self, feed: Feed) -> list[Any]:
        key = signature(feed)
        with self._busy, torch.inference_mode():
            try:
                if key not in self._captured:
                    if len(self._captured) == SIZES:
                        del self._captured[next(iter(self._captured))]
                    self._captured[key] = Captured(self._work(feed), feed, self._stream)
                self._captured[key] = self._captured.pop(key)  # the latest last
                return self._captured[key](feed)
            except torch.OutOfMemoryError as error:
                raise GraphError(f"the GPU's memory is full ({str(error).splitlines()[0]}); free some, or use --runtime openvino") from None


def arrays(feed: Feed) -> bool:
    """Whether there are no tensors among the inputs."""
    return all(isinstance(value, np.ndarray) for value in feed.values())


def tensor(value: NDArray[Any] | Tensor) -> Tensor:
    """A tensor as it is; an array that is only read as one of the same memory if it is writeable: torch warns of any other."""
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def pinned(like: Tensor) -> Tensor:
    """Fresh page-locked memory, which torch takes from a pool: the caller owns it, and the copy out is asynchronous."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)


def signature(feed: Feed) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shapes and types of the inputs, which differ between arrays and tensors: what a captured graph is bound to."""
    return tuple((tuple(value.shape), str(value.dtype)) for value in feed.values())
