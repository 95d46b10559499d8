"""Video and stream deraining with CLIP-driven rain perception and pattern-aware routing."""

__version__ = "0.1.0"
