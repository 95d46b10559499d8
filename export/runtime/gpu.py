"""Whether an NVIDIA GPU answers, asked of its driver alone: importing torch to ask would cost seconds."""

from __future__ import annotations

import ctypes
import os

LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


def count() -> int:
    """GPUs that the CUDA driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return 0
    number = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(number)):
        return 0
    return number.value


def driver() -> str:
    """Version of the installed driver ("580.65.06"), or of the CUDA that it serves ("cuda 13000") where there is no NVML."""
    text = ctypes.create_string_buffer(96)
    try:
        nvml = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
        if not nvml.nvmlInit_v2() and not nvml.nvmlSystemGetDriverVersion(text, len(text)):
            return text.value.decode()
    except OSError:
        pass
    return f"cuda {_cuda_version()}"


def _cuda_version() -> int:
    number = ctypes.c_int()
    try:
        ctypes.CDLL(LIBRARY).cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return 0
    return number.value
