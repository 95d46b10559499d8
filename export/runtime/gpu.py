"""Whether an NVIDIA GPU answers, asked of its driver alone: importing torch to ask would cost seconds."""

from __future__ import annotations

import ctypes
import os


def count() -> int:
    """GPUs that the CUDA driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    number = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(number)):
        return 0
    return number.value
