"""Static HDR metadata (SMPTE ST 2086 and CTA-861.3) from a frame's side data into an encoder's own words.

PyAV hands no side data to an encoder, so the encoders that take it as an option are given it there, and only those keep it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MASTERING, LIGHT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"


@dataclass(frozen=True)
class Hdr:
    """points: x and y of red, green, blue and white. luminance: least and most of the mastering display, cd/m².

    light: most of any pixel, and of the mean of any frame, cd/m². None: not told.
    """

    points: tuple[Fraction, ...] | None = None
    luminance: tuple[Fraction, Fraction] | None = None
    light: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.points or self.luminance or self.light)


def hdr_of(side_data: Mapping[str, bytes]) -> Hdr:
    """side_data: by FFmpeg's names, AVMasteringDisplayMetadata and AVContentLightMetadata as they lie in memory."""
    points = luminance = light = None
    if data := side_data.get(MASTERING):
        *numbers, has_points, has_luminance = struct.unpack("=22i", data)
        told = [Fraction(above, below or 1) for above, below in zip(numbers[::2], numbers[1::2], strict=True)]
        points = tuple(told[:8]) if has_points else None
        luminance = (told[8], told[9]) if has_luminance else None
    if data := side_data.get(LIGHT):
        light = struct.unpack("=2I", data[:8])
    return Hdr(points, luminance, light)


def options(encoder: str, hdr: Hdr) -> dict[str, str]:
    """Encoder options, as parameters joined by colons, for as much of `hdr` as the encoder takes: empty if it takes none."""
    if encoder not in _WORDS:
        return {}
    key, mastering, light = _WORDS[encoder]
    words = []
    if hdr.points and hdr.luminance:
        words.append(f"{mastering}={_display(hdr.points, hdr.luminance, whole=encoder != 'libsvtav1')}")
    if hdr.light:
        words.append(f"{light}={hdr.light[0]},{hdr.light[1]}")
    return {key: ":".join(words)} if words else {}


def lost(encoder: str, hdr: Hdr) -> list[str]:
    """What of `hdr` the encoder's options do not hold, in our words."""
    kept = encoder in _WORDS
    mastering = bool(hdr.points or hdr.luminance) and not (kept and hdr.points and hdr.luminance)
    return ["HDR mastering data"] * mastering + ["HDR light levels"] * bool(hdr.light and not kept)


_WORDS = {
    "libx265": ("x265-params", "master-display", "max-cll"),
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
}
"""Encoder -> its option for further parameters, and their names for mastering display and light levels."""


def _display(points: tuple[Fraction, ...], luminance: tuple[Fraction, Fraction], whole: bool) -> str:
    """whole: in steps of 0.00002 and of 0.0001 cd/m², as in the bitstream; else as decimal numbers."""
    xy = [round(value * 50000) if whole else f"{float(value):.5f}" for value in points]
    least, most = (round(value * 10000) if whole else f"{float(value):.4f}" for value in luminance)
    red, green, blue, white = (f"({x},{y})" for x, y in zip(xy[::2], xy[1::2], strict=True))
    return f"G{green}B{blue}R{red}WP{white}L({most},{least})"
