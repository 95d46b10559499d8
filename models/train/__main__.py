"""`derain-train`, which needs the extra `train`: says so where it is missing."""

from __future__ import annotations

import sys

NEEDED = {"torch", "open_clip", "safetensors"}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code, 2 with one line where the extra is missing."""
    try:
        from .cli import main as train
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"derain-train: {error.name} is not installed; pip install 'derain-video[train]'", file=sys.stderr)
        return 2
    return train(argv)


if __name__ == "__main__":
    raise SystemExit(main())
