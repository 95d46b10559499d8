"""Temporal state where frames are tensors, on a GPU say: what `near` of models/align.py makes of planes in the processor's memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .align import SORTERS, Flow
from .spec import MULTIPLE, NEIGHBOURS


def state(planes: Sequence[Tensor], flows: Sequence[Flow | None], scale: int) -> Tensor:
    """Planes drawn from where flow points and sorted at each pixel from dark to bright; of AROUND the middle ones: (4, H, W) uint8.

    planes: NEIGHBOURS or AROUND of (H, W) uint8 on one device. flows: to each of them, of thumbnails, whose pixels are `scale` of theirs each
    way, in the processor's memory; None where nothing moves. Values are OpenCV's, or one beside them.
    """
    parts = [plane if flow is None else _carried(plane, flow, scale) for plane, flow in zip(planes, flows, strict=True)]
    for low, high in SORTERS[len(parts)]:
        parts[low], parts[high] = torch.minimum(parts[low], parts[high]), torch.maximum(parts[low], parts[high])
    least = (len(parts) - NEIGHBOURS) // 2
    return torch.stack(parts[least : least + NEIGHBOURS])


def padded(planes: Tensor, multiple: int = MULTIPLE) -> Tensor:
    """(C, H, W) as (1, C, H', W'), by repeating the right and bottom edge up to a multiple: `pad` of models/planes.py."""
    rows, columns = (torch.arange(-(-side // multiple) * multiple, device=planes.device).clamp(max=side - 1) for side in planes.shape[-2:])
    return planes[None, :, rows][..., columns]


def _carried(plane: Tensor, flow: Flow, scale: int) -> Tensor:
    height, width = plane.shape
    small = F.pad(torch.from_numpy(flow).to(plane.device).permute(2, 0, 1)[None], (0, 1, 0, 1), "replicate")  # for what fills no thumbnail pixel
    across, down = scale * F.interpolate(small, scale_factor=scale, mode="bilinear")[0, :, :height, :width]
    x = across + torch.arange(width, device=plane.device)
    y = down + torch.arange(height, device=plane.device)[:, None]
    grid = torch.stack((2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1), -1)
    drawn = F.grid_sample(plane[None, None].float(), grid[None], "bilinear", "border", align_corners=True)
    return drawn[0, 0].round().to(torch.uint8)
