"""Decoding by NVDEC and encoding by NVENC, where an NVIDIA GPU takes them; else in software, which is said.

Run on an H200, which has no NVENC: decoding raised no fault there, and x264 stood in for encoding. Pictures came to the processor's memory then;
that they stay on the GPU (`resident`) was run on none by us.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.codec.hwaccel import HWAccel

from ..export.runtime import gpu
from .errors import line
from .place import file_url

WAYS = ("auto", "none")

NVENC = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc", "libsvtav1": "av1_nvenc"}
"""What stands in for an encoder."""

OPTIONS = {"preset": "p4", "rc": "vbr", "cq": "19", "b": "0"}

STAYS = hasattr(av.VideoFrame, "sw_format")
"""Whether PyAV, from 18.1 on, gives frames that are on the GPU to an encoder there."""

log = logging.getLogger("derain_video")


def usable(asked: str) -> bool:
    """Whether to try the GPU's decoder and encoder. asked: one of WAYS. Where auto finds no GPU, that is said."""
    if asked == "none":
        return False
    found = gpu.count() > 0
    if not found:
        log.warning("--hwaccel auto: no NVIDIA GPU answers: decoding and encoding in software")
    return found


def staying() -> HWAccel:
    """For a decoder that leaves pictures on the GPU, in torch's own context there, and for an encoder that takes them from it."""
    return HWAccel("cuda", allow_software_fallback=True, is_hw_owned=True)


def open_video(path: Path, hardware: bool, stay: bool = False, **how: Any) -> av.container.InputContainer:
    """av.open for reading, on the GPU if `hardware` and if it works there. stay: pictures decoded there are left there."""
    container: av.container.InputContainer
    if hardware:
        how["hwaccel"] = staying() if stay else HWAccel("cuda", allow_software_fallback=True)
    try:
        container = av.open(file_url(path), **how)
    except (av.FFmpegError, OSError, RuntimeError) as error:
        if not how.pop("hwaccel", None):
            raise
        container = av.open(file_url(path), **how)  # if the file is at fault, it says so
        log.warning("%s: decoding in software, NVDEC fails: %s", path, line(error))
    else:
        contexts = [stream.codec_context for stream in container.streams.video if stream.codec_context]
        if hardware and contexts and not any(context.is_hwaccel for context in contexts):
            log.warning("%s: decoding in software, NVDEC is not used for %s", path, contexts[0].name)
    return container


def encoder(software: str, pixels: str, width: int, height: int, options: Mapping[str, str]) -> str:
    """NVENC's name for an encoder if it opens for such frames, else `software`. It is given 8-bit 4:2:0 of even sizes only."""
    name = NVENC.get(software)
    if not name or pixels not in ("yuv420p", "yuvj420p") or width % 2 or height % 2:
        return software
    try:
        context = cast("av.VideoCodecContext", av.CodecContext.create(name, "w"))
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.options = Fraction(1, 25), dict(options)
        context.open()
    except (av.FFmpegError, ValueError) as error:
        log.warning("encoding in software, %s fails: %s", name, line(error))
        return software
    return name
