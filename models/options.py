"""What the commands share: complaints of one line, and numbers that say what they may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn, TypeVar

Number = TypeVar("Number", int, float, Fraction)

MOST = 10**12
"""Largest number that an option takes unless it says otherwise."""

THREADS = 1024
"""Most threads."""


class Parser(argparse.ArgumentParser):
    """Complains in one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows the options)\n")


def number(kind: type[Number], least: Number, most: Number | int = MOST) -> Callable[[str], Number]:
    """Type of an option: a number of that kind from `least` to `most`, both allowed."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except (ValueError, ZeroDivisionError):
            pass
        else:
            if least <= value <= most:  # not so of nan
                return value
        whole = "whole " if issubclass(kind, int) else ""
        raise argparse.ArgumentTypeError(f"{text!r}: give a {whole}number from {least} to {most}")

    return read
