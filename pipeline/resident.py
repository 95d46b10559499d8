"""Frames that stay on the GPU from its decoder to its encoder, as torch tensors that PyAV takes and gives by DLPack.

What looks at frames, for cuts, rain and motion, sees copies in the processor's memory; neighbours are carried over, and the network runs, on the
GPU. No tensor here knows what it lies on, so all of this is tested in the processor's memory. On a GPU it was not run by us.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import av
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from ..export.runtime.base import Runtime
from ..models import carry
from ..models.align import Flow
from ..models.planes import crop
from ..models.spec import MULTIPLE
from .frame import Plane
from .reduced import fold

PITCH = 256
"""Bytes from row to row are a multiple of this: what NVENC reads must be aligned."""


@dataclass(frozen=True)
class Resident:
    """8-bit 4:2:0 of even sizes, in one piece of memory: NVENC is told its beginning alone. y: (H, W); uv: (H/2, W/2, 2); uint8."""

    y: Tensor
    uv: Tensor

    def picture(self) -> av.VideoFrame:
        """FFmpeg's frame of the same memory."""
        context = _context(self.y.device.index) if self.y.is_cuda else None
        return av.VideoFrame.from_dlpack((self.y, self.uv), "nv12", cuda_context=context)

    def planes(self) -> tuple[Plane, ...]:
        """Y, U and V in the processor's memory."""
        uv = self.uv.cpu().numpy()
        return self.y.cpu().numpy(), uv[..., 0], uv[..., 1]

    def derained(self, runtime: Runtime, network: str, sources: Sequence[tuple[Resident, Flow | None]], scale: int) -> Resident:
        """This frame without its rain. sources: of its state, as of `sources` in models/align.py; scale: frame pixels of flow's."""
        state = carry.state([frame.y for frame, _ in sources], [flow for _, flow in sources], scale)
        y, uv = carry.padded(self.y[None]), carry.padded(self.uv.permute(2, 0, 1), MULTIPLE // 2)
        clean = runtime.derain(network, cast(Any, y), cast(Any, uv), cast(Any, carry.padded(state)), 255)
        y, uv = cast(Tensor, crop(clean.y, *self.y.shape)), cast(Tensor, crop(clean.uv, *self.uv.shape[:2]))
        return _kept(y[0], uv.permute(1, 2, 0))


def copied(picture: av.VideoFrame) -> Resident | None:
    """A copy of a picture that is on the GPU, so that its decoder has the memory back. None for one that is not, or that is no 8-bit 4:2:0 of
    even sizes, or so large that it is derained at a smaller size."""
    if picture.format.name != "cuda" or not picture.sw_format or picture.sw_format.name != "nv12":
        return None
    if picture.width % 2 or picture.height % 2 or fold(picture.height, picture.width) > 1:
        return None
    return of(picture)


def of(picture: av.VideoFrame) -> Resident:
    """A copy of a picture in nv12."""
    y, uv = (from_dlpack(plane.__dlpack__()) for plane in picture.planes)  # a capsule: PyAV refuses the stream that torch would name
    return _kept(y, uv)


def _kept(y: Tensor, uv: Tensor) -> Resident:
    """A copy in one piece, which is there when this returns."""
    height, width = y.shape
    whole = torch.empty((height * 3 // 2, -(-width // PITCH) * PITCH), dtype=torch.uint8, device=y.device)
    kept = Resident(whole[:height, :width], whole[height:, :width].view(height // 2, width // 2, 2))
    kept.y.copy_(y)
    kept.uv.copy_(uv)
    if y.is_cuda:
        torch.cuda.current_stream(y.device).synchronize()
    return kept


@cache
def _context(device: int) -> Any:
    """torch's own context on that GPU, for FFmpeg."""
    return av.video.frame.CudaContext(device)
