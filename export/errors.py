"""What can go wrong with graphs and runtimes. Each message is one line with the path, the value and the remedy."""

from __future__ import annotations


class ExportError(Exception):
    """Any fault of this folder that a user can mend."""


class RuntimeMissing(ExportError, ImportError):
    """A runtime was asked for that is not installed, or has no device to run on."""


class GraphError(ExportError, OSError):
    """A graph or engine file is absent, damaged or does not fit."""


class OptionError(ExportError, ValueError):
    """An option has a value that is not offered."""


class ParityError(ExportError, ArithmeticError):
    """A network in another form computes other pictures than the torch network."""
