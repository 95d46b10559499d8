"""`derain-bench quality|speed|routing`: what the networks and the program are worth, in figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..pipeline.errors import FAULTS
from .footage import FootageError

NETWORKS = ("auto", "fast", "quality")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one benchmark. Returns 0, or 2 after one line on stderr where the input is at fault."""
    options = parser().parse_args(argv)
    try:
        result: dict[str, Any] = options.run(options)
    except (FootageError, OSError, *FAULTS) as error:
        print(f"derain-bench: {error}", file=sys.stderr)
        return 2
    if options.json:
        from .report import write

        write(options.json, result)
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="derain-bench", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="quality|speed|routing")
    _quality(commands.add_parser("quality", help="PSNR-Y, SSIM-Y, flicker and harm on rendered validation rain, or on paired folders"))
    return root


def _quality(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, nargs="?", help="clean clips and stills, to be rained on")
    command.add_argument("--kinds", nargs="+", metavar="KIND", help="only these kinds of weather")
    command.add_argument("--frames", type=int, default=12, help="frames of each clip (default %(default)s; 0: all)")
    command.add_argument("--clips", type=int, default=0, help="most clips, and most stills (default: all)")
    command.add_argument("--pattern", default="auto", help="one sub-network for all frames in place of routing")
    command.add_argument("--each", action="store_true", help="measure each sub-network alone too: what routing adds")
    command.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet: rainy, ours, truth, 4 x difference")
    _common(command, quality)


def _common(command: argparse.ArgumentParser, run: Any) -> None:
    command.add_argument("--runtime", default="auto", help="auto, onnx, openvino, torch or tensorrt (default %(default)s)")
    command.add_argument("--precision", default="auto", help="of the runtime (default %(default)s)")
    command.add_argument("--model", default="fast", choices=NETWORKS, help="size of the networks (default %(default)s)")
    command.add_argument("--threads", type=int, default=0, help="of the runtime (default: its choice)")
    command.add_argument("--folder", dest="graphs", type=Path, help="exported graphs in place of those that ship")
    command.add_argument("--json", type=Path, metavar="FILE", help="write every figure, with machine, versions and commit")
    command.set_defaults(run=run)


def quality(options: argparse.Namespace) -> dict[str, Any]:
    from ..export.runtime import load
    from ..models.spec import RAINY
    from . import kinds, methods, report
    from .footage import footage

    if not options.folder:
        raise FootageError("no folder given: derain-bench quality FOLDER, with clean clips or stills in it")
    chosen = [kinds.named(name) for name in options.kinds or kinds.BY_NAME]
    name, size, precision = options.runtime, options.model, options.precision
    with load(name, model=size, precision=precision, threads=options.threads, folder=options.graphs) as runtime:
        clips = footage(options.folder, options.frames, options.clips)
        ours = methods.ours(runtime, options.pattern)
        compared = {"input": methods.untouched, "median5": methods.median, "ours": ours}
        if options.each:
            compared |= {pattern: methods.ours(runtime, pattern) for pattern in RAINY}
        return report.quality(chosen, clips, compared, options.sheet) | {"runtime": [runtime.name, runtime.precision, runtime.device]}


if __name__ == "__main__":
    raise SystemExit(main())
