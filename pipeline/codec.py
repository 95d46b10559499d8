"""Which encoder, which pixel format and which settings: by the input, by the container, and by what was asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from fractions import Fraction

import av
from av.codec.codec import UnknownCodecError

from ..export.runtime.threads import cores
from . import hdr, hwaccel
from .errors import OptionError
from .frame import LAYOUTS, Layout
from .video import Video

ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "av1": "libsvtav1",
    "libdav1d": "libsvtav1",
    "ffv1": "ffv1",
    "prores": "prores_ks",
    "mjpeg": "mjpeg",
}
"""Codec of the input -> encoder. Every other input becomes H.264, or what the container has instead."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Of x264 and x265, which else print what is wrong themselves."""

WORST = 51
"""Largest crf of x264 and x265."""

TUNED = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "libvpx", *hwaccel.NVENC.values())
"""Encoders that have both a crf and a preset, by whatever names."""

FALLBACK = ("libx264", "libvpx-vp9", "libsvtav1", "mpeg4", "ffv1", "mpeg2video", "mpeg1video", "mjpeg")
EVEN = ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video")
"""Encoders whose halved chroma needs even sizes."""

LEAST = {"libx265": 64, "libsvtav1": 32}
"""Shortest side of what an encoder takes: x265 writes beyond its memory where frames are smaller than its blocks, and SVT-AV1 never ends."""

LIMITED = ("prores_ks", "mpeg1video", "mpeg2video", "mpeg4", "libvpx")
"""Encoders of codecs that cannot tell of full range: every player takes them for video range."""

MATRIX = {"mjpeg": 5, "mpeg1video": 5, "libvpx": 5}
"""The matrix of codecs that have but one, that of BT.601, by FFmpeg's number."""

COUNTING = ("mpeg2video", "mpeg1video")
"""Encoders that have no clock, but one of RATES."""

RATES = (Fraction(24_000, 1001), Fraction(24), Fraction(25), Fraction(30_000, 1001), Fraction(30), Fraction(50), Fraction(60_000, 1001), Fraction(60))
"""Frames per second of MPEG-1 and MPEG-2 (ISO/IEC 13818-2, table 6-4)."""

PROFILES = {"dnxhd": {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}}
"""What an encoder needs for a layout; these of dnxhd take any size."""

ORDER = {("ffv1", "rgb24"): "bgr0"}
"""Where an encoder wants the same values in another order."""

PARAMS = {"libx264": {"x264-params": "sync-lookahead=0"}, "libx265": {"x265-params": "log-level=none"}}
"""Of x264: that it looks ahead in step with encoding, which holds fewer frames; what it writes is the same. Of x265: that it is quiet."""

os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 takes no option for it


@dataclass(frozen=True)
class Settings:
    """What was asked for; empty means a choice of ours. crf and preset are the encoder's own. hardware: NVENC in place of our choice."""

    codec: str = ""
    crf: float | None = None
    preset: str = ""
    hardware: bool = False


DEFAULTS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx265": {"crf": "20", "preset": "ultrafast"},
    "libsvtav1": {"crf": "26", "preset": "10"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
    **dict.fromkeys(hwaccel.NVENC.values(), hwaccel.OPTIONS),
    "libvpx": {"crf": "8", "b": "0", "deadline": "realtime", "cpu-used": "8"},
    **{name: {"flags": "+qscale", "global_quality": "354"} for name in ("mpeg4", *COUNTING)},
    "mjpeg": {"flags": "+qscale", "global_quality": "236"},
}
"""Near-transparent and fast: x264's veryfast keeps up with deraining at a third of the file size of ultrafast."""


def choose_encoder(video: Video, settings: Settings, supported: set[str], container: str) -> str:
    """An encoder for the container: the one asked for, or the input's codec, or the container's best."""
    if settings.codec:
        name = ENCODERS.get(settings.codec, settings.codec)
        if not (codec := _encoder(name)):
            raise OptionError(f"codec {settings.codec!r} has no encoder here; try one of {', '.join(sorted(set(ENCODERS.values())))}")
        if codec.canonical_name not in supported:
            raise OptionError(f"codec {settings.codec!r} does not fit into {container}; try --codec {_fitting('', supported, 8) or 'another'}")
        if name in LEAST and min(video.width, video.height) < LEAST[name]:
            raise OptionError(f"--codec {settings.codec}: {name} takes no frames of less than {LEAST[name]} pixels a side; leave it out")
        return name
    first = ENCODERS.get(video.codec, "")
    name = _fitting("" if min(video.width, video.height) < LEAST.get(first, 0) else first, supported, video.layout.bits)
    if not name:
        raise OptionError(f"{container} holds no video that can be encoded here; give OUT another ending, .mp4 or .mkv say")
    if settings.hardware and not settings.preset:
        return hwaccel.encoder(name, video.layout.name, video.width, video.height, hwaccel.OPTIONS)
    return name


def counted(video: Video) -> Video:
    """The video on the clock of an encoder that counts frames: the slowest on which each may have its place."""
    rate = next((rate for rate in RATES if rate > 0.999 * video.rate), RATES[-1])
    return replace(video, rate=rate, time_base=1 / rate)


def options(name: str, settings: Settings, container: str, layout: str = "", light: hdr.Hdr | None = None) -> dict[str, str]:
    """Encoder options. layout: name of the one to encode in. light: static HDR metadata, for encoders that take it.

    AVI and ASF have no room for the time of a frame that is not stored in order of time: no B-frames there.
    """
    _check(name, settings)
    quality = "cq" if name in hwaccel.NVENC.values() else "crf"
    asked = {quality: f"{settings.crf:g}"} if settings.crf is not None else {}
    if settings.preset:
        asked["preset" if not name.startswith("libvpx") else "deadline"] = settings.preset
    ordered = {"bf": "0"} if container in ("avi", "asf") else {}
    profile = {"profile": PROFILES[name][layout]} if layout in PROFILES.get(name, {}) else {}
    params = {key: ":".join(filter(None, (PARAMS.get(name, {}).get(key), value))) for key, value in hdr.options(name, light or hdr.Hdr()).items()}
    threads = {"threads": str(cores())} if name == "libx264" else {}  # by itself it takes half as many more, which hold a frame each
    return {**DEFAULTS.get(name, {}), **threads, **profile, **PARAMS.get(name, {}), **params, **ordered, **asked}


def _check(name: str, settings: Settings) -> None:
    """OptionError for what was asked for and the encoder does not have."""
    for option, asked in (("--crf", settings.crf), ("--preset", settings.preset)):
        if asked not in (None, "") and name not in TUNED:
            raise OptionError(f"{option} {asked}: {name} has no such option; leave it out, or give another --codec")
    if name in ("libx264", "libx265"):
        if settings.preset and settings.preset not in PRESETS:
            raise OptionError(f"--preset {settings.preset}: {name} has {', '.join(PRESETS)}")
        if settings.crf is not None and settings.crf > WORST:
            raise OptionError(f"--crf {settings.crf:g}: {name} has 0 to {WORST}")


def choose_layout(name: str, video: Video) -> Layout:
    """The layout to encode in: the frames' own if the encoder takes it, else the least that holds it.

    Encoders that halve chroma refuse odd sizes (x264, x265, mpeg4): those are stored with full chroma, which holds the same
    picture and plays wherever 4:4:4 does.
    """
    offered = _offered(name)
    for candidate in _candidates(video.layout):
        if candidate.name in offered and not (name in EVEN and odd(candidate, video)):
            return candidate
    raise OptionError(f"{name} cannot store {video.layout.name} of {video.width}x{video.height}; choose another --codec, ffv1 say")


def _candidates(layout: Layout) -> list[Layout]:
    """The layout itself; the same bits under another name; then more chroma, more bits, less chroma, fewer bits; then full range."""

    def distance(other: Layout) -> tuple[bool, bool, bool, int, int]:
        """Smaller is nearer."""
        chroma = other.across + other.down - layout.across - layout.down
        less_chroma = other.planes < layout.planes or (layout.planes == 3 and (other.across > layout.across or other.down > layout.down))
        return other.name.startswith("yuvj") > full, other.bits < layout.bits, less_chroma, abs(other.bits - layout.bits), abs(chroma)

    full = layout.name.startswith("yuvj")
    rest = [other for other in LAYOUTS.values() if other.planes == 3 and other.bits <= 12]
    if layout.rgb:
        return [layout, LAYOUTS["yuv420p" if layout.bits == 8 else "yuv420p10le"], LAYOUTS["yuv444p"], LAYOUTS["yuvj420p"]]
    return [layout, *sorted(rest, key=distance)]


def odd(layout: Layout, video: Video) -> bool:
    """Whether chroma is halved along a side that is odd."""
    return bool((layout.across and video.width % 2) or (layout.down and video.height % 2))


def _fitting(first: str, supported: set[str], bits: int) -> str:
    """The first encoder that fits and keeps the bits; if none keeps them, the first that fits."""
    names = [name for name in (first, *FALLBACK) if name and (codec := _encoder(name)) and codec.canonical_name in supported]
    deep = (name for name in names if max(LAYOUTS[layout].bits for layout in _offered(name)) >= bits)
    return next(deep, names[0] if names else "")


def _offered(name: str) -> list[str]:
    """Layouts of ours that an encoder takes. Of JPEG's those of full range: it knows no other, and players take it for that."""
    taken = {pixels.name for pixels in av.Codec(name, "w").video_formats or () if name != "mjpeg" or pixels.name.startswith("yuvj")}
    return [layout for layout in LAYOUTS if ORDER.get((name, layout), layout) in taken]


def _encoder(name: str) -> av.Codec | None:
    try:
        codec = av.Codec(name, "w")
    except (UnknownCodecError, UnicodeEncodeError):
        return None
    return codec if codec.type == "video" else None
