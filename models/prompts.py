"""Prompts of every rain pattern, on density, orientation and intensity. Their embeddings are averaged to one per pattern."""

from __future__ import annotations

PROMPTS: dict[str, tuple[str, ...]] = {
    "clear": (
        "a photo of a dry scene without rain",
        "a photo without any streaks of rain",
        "a clear photo with clean air",
    ),
    "light": (
        "a photo of light rain, sparse short vertical streaks",
        "a photo of light rain, sparse long slanted streaks",
        "a photo of light rain, scattered short slanted streaks",
        "a photo of light rain, scattered long vertical streaks",
    ),
    "heavy": (
        "a photo of heavy rain, dense short vertical streaks",
        "a photo of heavy rain, dense long slanted streaks",
        "a photo of heavy rain, very dense short slanted streaks",
        "a photo of heavy rain, very dense long vertical streaks",
    ),
    "downpour": (
        "a photo of a downpour, dense short vertical streaks, veiled by mist",
        "a photo of a downpour, dense long slanted streaks, veiled by mist",
        "a photo of a downpour, very dense short slanted streaks, veiled by mist",
        "a photo of a downpour, very dense long vertical streaks, veiled by mist",
    ),
}
