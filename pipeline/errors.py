"""What can go wrong in the pipeline. Each message is one line that names the path, the value and the remedy."""

from __future__ import annotations

from ..export.errors import ExportError, OptionError

__all__ = ["FAULTS", "DerainError", "FullError", "OpenError", "OptionError", "WriteError", "line"]


class DerainError(Exception):
    """Any fault of the pipeline that a user can mend."""


class OpenError(DerainError, OSError):
    """An input is absent, is not a video, or cannot be decoded."""


class WriteError(DerainError, OSError):
    """An output cannot be opened or written."""


class FullError(WriteError):
    """No room is left for an output. What is done of it stays under its temporary name."""


FAULTS = (DerainError, ExportError)
"""What the command answers with one line and exit code 2."""


def line(error: BaseException) -> str:
    """The reason in FFmpeg's or the system's words, without numbers, paths and line breaks."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(reason).split())
