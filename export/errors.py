"""What can go wrong with graphs and runtimes. Each message is one line with the path, the value and the remedy."""

from __future__ import annotations


class ExportError(Exception):
    """Any fault of this folder that a user can mend."""


class RuntimeMissing(ExportError, ImportError):
    """A runtime was asked for that is not installed, or has no device to run on."""


class GraphError(ExportError, OSError):
    """A graph or engine file is absent, damaged or does not fit."""


class GraphMissing(GraphError):
    """A graph that was never exported there."""


class OptionError(ExportError, ValueError):
    """An option has a value that is not offered."""


class ParityError(ExportError, ArithmeticError):
    """A network in another form computes other pictures than the torch network."""


def unread(runtime: str, error: Exception) -> str:
    """What a graph is that a runtime cannot read."""
    why = next(iter(str(error).split("\n")), "")
    return f"{runtime} cannot read this graph ({why}); export it again with derain-export onnx"
