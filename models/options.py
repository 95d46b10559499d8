"""What the commands share: complaints of one line, and numbers that say what they may be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, TypeVar

Number = TypeVar("Number", int, float, Fraction)

MOST = 10**12
"""Largest number that an option takes unless it says otherwise."""

THREADS = 1024
"""Most threads."""


class Parser(argparse.ArgumentParser):
    """Complains in one line, with exit code 2. Options are written out: a shortened one might come to mean another."""

    def __init__(self, prog: str | None = None, **settings: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of argparse, which in Python 3.11 takes the value `--` for an empty list."""
        for text in sys.argv[1:] if args is None else args:
            if text.startswith("--") and text.endswith("=--"):
                self.error(f"argument {text[:-3]}: '--' is no value")
        try:
            return super().parse_known_args(args, namespace)
        except UnicodeDecodeError:
            self.error("an @FILE with options is no text; write ./@NAME for a file of that name")

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """One argument a line of an @FILE; lines without any are passed over."""
        return [arg_line] if arg_line.strip() else []

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


def picture(text: str) -> Path:
    """Type of an option: a picture to write."""
    if Path(text).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r}: give a name that ends in .png or .jpg")
    return Path(text)
