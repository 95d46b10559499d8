"""Mixed precision where the hardware has it."""

from __future__ import annotations

import torch


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU and on processors that compute in it; nothing elsewhere, where it is emulated ten times slower than float32."""
    native = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=native)
