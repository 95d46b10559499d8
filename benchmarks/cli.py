"""`derain-bench quality|ablation|temporal|stability|perception|routing|speed|trace`: what the networks and the program are worth, in figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.options import THREADS, Parser, number, picture
from ..models.spec import RAINY, SPECS
from ..models.train.pairs import PairError
from ..pipeline.errors import FAULTS
from ..pipeline.place import check_folder
from .footage import FootageError
from .scene import SIZES

if TYPE_CHECKING:
    from ..export.runtime.base import Runtime

Result = dict[str, Any]

MOST_LINES = 4320
"""What footage may be enlarged to: 8K."""

FRAMES = 12
"""Of each clip that `quality` rains on."""

RAINED_ON = "clean clips and stills, to be rained on"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one benchmark. Returns 0, or after one line on stderr 2 where the input is at fault, and 130 where Ctrl-C was pressed."""
    options = parser().parse_args(argv)
    try:
        for path in filter(None, (options.json, getattr(options, "sheet", None), getattr(options, "picture", None))):
            check_folder(path)
            if path.is_dir():
                raise FootageError(f"{path}: is a folder; give the name of a file")
        result: Result = options.run(options)
        if options.json:
            from .report import write

            write(options.json, result)
    except (FootageError, PairError, OSError, *FAULTS) as error:
        print(f"derain-bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("derain-bench: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    root = Parser(prog="derain-bench", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="quality|ablation|temporal|stability|perception|routing|speed|trace")
    _quality(commands.add_parser("quality", help="PSNR-Y, SSIM-Y, flicker and harm on rendered validation rain, or on paired folders"))
    _ablation(commands.add_parser("ablation", help="one network against routed specialists, oracle and random routing"))
    _temporal(commands.add_parser("temporal", help="what temporal state is worth, and how best to align it"))
    _stability(commands.add_parser("stability", help="whether the end of 300 frames is as clean as their beginning"))
    _perception(commands.add_parser("perception", help="which rain is taken for which, and what dry footage is taken for rain"))
    _routing(commands.add_parser("routing", help="what the routing cache saves, and whether it changes decisions"))
    _speed(commands.add_parser("speed", help="frames per second of the whole and of its parts, efficiency, memory, start-up"))
    _trace(commands.add_parser("trace", help="a picture of what derain-video --trace wrote"))
    return root


def _quality(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, nargs="?", help=RAINED_ON)
    command.add_argument("--pairs", type=Path, metavar="ROOT", help="paired folders of public sets, in place of rendered rain")
    command.add_argument("--results", nargs="+", default=[], metavar="NAME=FOLDER", help="with --pairs: other networks' pictures")
    command.add_argument("--by-pattern", action="store_true", help="with --pairs: stills too by the network of their pattern, as the paper has it")
    _weather(command, FRAMES)
    _lines(command)
    command.add_argument("--pattern", default="auto", help="one sub-network for all frames in place of routing")
    command.add_argument("--each", action="store_true", help="measure each sub-network alone too: what routing adds")
    command.add_argument("--sheet", type=picture, metavar="PNG", help="write a contact sheet: rainy, ours, truth, 4 x difference")
    _common(command, quality)


def _ablation(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help=RAINED_ON)
    _weather(command, 12)
    command.add_argument("--seed", type=number(int, 0), default=0, help="of random routing (default %(default)s)")
    command.add_argument("--model", choices=tuple(SPECS), default="fast", help="size of the networks (default %(default)s)")
    command.add_argument("--weights", type=Path, metavar="FOLDER", help="trained weights in place of those that ship; all run in torch, fp32")
    _kept(command, ablation)


def _temporal(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="clean clips, to be rained on")
    _weather(command, 8)
    command.add_argument("--pattern", choices=RAINY, default="heavy", help="the sub-network for all frames (default %(default)s)")
    _common(command, temporal)


def _stability(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="clean clips of 26 frames or more, to be rained on")
    command.add_argument("--kinds", nargs="+", metavar="KIND", default=["gusts", "dense"], help="of rain (default: gusts dense)")
    command.add_argument("--clips", type=number(int, 0), default=2, help="most clips (default %(default)s)")
    command.add_argument("--pattern", default="auto", help="one sub-network for all frames in place of routing")
    _common(command, stability)


def _perception(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help=RAINED_ON)
    command.add_argument("--frames", type=number(int, 0), default=3, help="frames of each clip (default %(default)s; 0: all)")
    command.add_argument("--clips", type=number(int, 0), default=0, help="most clips, and most stills (default: all)")
    _lines(command)
    _common(command, perception)


def _lines(command: argparse.ArgumentParser) -> None:
    lines = "enlarge smaller footage to so many before it rains: rain grows with it"
    command.add_argument("--lines", type=number(int, 0, MOST_LINES), default=0, help=lines)


def _weather(command: argparse.ArgumentParser, frames: int) -> None:
    command.add_argument("--kinds", nargs="+", metavar="KIND", help="only these kinds of weather")
    command.add_argument("--frames", type=number(int, 0), default=frames, help="frames of each clip (default %(default)s; 0: all)")
    command.add_argument("--clips", type=number(int, 0), default=0, help="most clips, and most stills (default: all)")


def _speed(command: argparse.ArgumentParser) -> None:
    named = ", ".join(SIZES)
    command.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE", help=f"of {named} (default: all)")
    command.add_argument("--frames", type=number(int, 1), default=240, help="at 360p; fewer of larger ones, on a GPU 8 times as many (%(default)s)")
    command.add_argument("--clip", type=Path, help="a clip to run on, brought to each size (default: a made scene)")
    command.add_argument("--preset", default="", help="speed of the encoder, as it names it (default: the program's choice)")
    command.add_argument("--peer", metavar="MODULE:FUNCTION", help="returns a torch network to time on the same frames: RGB in, RGB out")
    _common(command, speed)


def _trace(command: argparse.ArgumentParser) -> None:
    command.add_argument("trace", type=Path, help="file that derain-video --trace wrote")
    command.add_argument("picture", type=picture, help="to write, .png or .jpg")
    command.add_argument("--start", type=number(float, 0.0), default=2.0, metavar="SECONDS", help="begin there (default %(default)s)")
    command.add_argument("--span", type=number(float, 0.001), default=0.5, metavar="SECONDS", help="draw so much (default %(default)s)")
    command.set_defaults(run=trace, json=None)


def _routing(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="clean clips")
    command.add_argument("--frames", type=number(int, 0), default=0, help="frames of each clip (default: all)")
    command.add_argument("--seed", type=number(int, 0), default=0, help="of the order and the weather (default %(default)s)")
    _common(command, routing)


def _common(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Result]) -> None:
    several: dict[str, Any] = {"nargs": "+", "default": ["auto"], "metavar": "RUNTIME"} if run is speed else {"default": "auto"}
    command.add_argument("--runtime", **several, help="auto, onnx, openvino, torch or tensorrt (default auto)")
    command.add_argument("--precision", default="auto", help="of the runtime (default %(default)s)")
    command.add_argument("--model", default="fast", help="size of the networks (default %(default)s)")
    if run is not speed:
        command.add_argument("--graphs", type=Path, metavar="FOLDER", help="networks in place of those that ship")
        command.add_argument("--clip", dest="eye", metavar="NAME", help="perceive with this model of open_clip, as ViT-B-32 (needs the extra train)")
        command.add_argument("--clip-pretrained", metavar="TAG", help="its tag, e.g. openai, or checkpoint file")
    _kept(command, run)


def _kept(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Result]) -> None:
    command.add_argument("--threads", type=number(int, 0, THREADS), default=0, help="of the runtime (default: its choice)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write every figure, with machine, versions and commit")
    command.set_defaults(run=run)


def _load(options: argparse.Namespace, name: str = "") -> Runtime:
    """The runtime that was asked for; name: this one."""
    from ..export.runtime import load

    folder = getattr(options, "graphs", None)
    runtime = load(name or options.runtime, model=options.model, precision=options.precision, threads=options.threads, folder=folder)
    return _seeing(runtime, options)


def _seeing(runtime: Runtime, options: argparse.Namespace) -> Runtime:
    """The runtime, or one that perceives by `--clip`, or by a checkpoint of the one that ships."""
    name, pretrained = (getattr(options, each, None) for each in ("eye", "clip_pretrained"))  # `--clip` of `speed` is footage
    if not name and not pretrained:
        return runtime
    from .eye import Eye

    return Eye(runtime, name, pretrained)


def quality(options: argparse.Namespace) -> Result:
    from . import report

    if bool(options.folder) == bool(options.pairs):
        raise FootageError("give a folder of clean clips or stills, or --pairs ROOT: derain-bench quality FOLDER")
    rendered: Result = {"sheet": None, "kinds": None, "each": False, "frames": FRAMES, "clips": 0, "lines": 0}
    others = rendered if options.pairs else {"results": [], "by_pattern": False}
    if given := [f"--{name.replace('_', '-')}" for name, unasked in others.items() if getattr(options, name) != unasked]:
        where = "of rendered rain, not of --pairs" if options.pairs else "of --pairs"
        raise FootageError(f"{', '.join(given)}: {where}; leave it out")
    with _load(options) as runtime:
        used = {"runtime": [runtime.name, runtime.precision, runtime.device]}
        measured = report.paired if options.pairs else report.rendered
        return used | measured(options, runtime)


def ablation(options: argparse.Namespace) -> Result:
    from ..export.runtime import load
    from . import report
    from .ablation import Generalist

    folder: Path | None = options.weights
    with (
        load("torch", model=options.model, precision="fp32", threads=options.threads, folder=folder) as runtime,
        Generalist(options.model, folder, options.threads) as one,
    ):
        return report.ablation(options, runtime, one)


def temporal(options: argparse.Namespace) -> Result:
    from . import report

    with _load(options) as runtime:
        return report.temporal(options, runtime)


def stability(options: argparse.Namespace) -> Result:
    from . import report

    with _load(options) as runtime:
        return report.stability(options, runtime)


def perception(options: argparse.Namespace) -> Result:
    from . import report

    with _load(options) as runtime:
        return report.perception(options, runtime)


def speed(options: argparse.Namespace) -> Result:
    from . import report

    return report.speed(options, partial(_load, options))


def trace(options: argparse.Namespace) -> Result:
    from . import lanes

    shares = lanes.write(options.trace, options.picture, options.start, options.span)
    print("\n".join(f"{stage:<10}{share:7.1%}" for stage, share in shares.items()))
    return shares


def routing(options: argparse.Namespace) -> Result:
    from . import routing
    from .footage import footage
    from .origin import origin

    with _load(options) as runtime:
        clips = [clip for clip in footage(options.folder, options.frames) if len(clip) > 1]
        if not clips:
            raise FootageError(f"{options.folder}: no clips in it, only stills; routing needs footage that moves")
        results, cost = routing.measure(clips, runtime, options.seed), routing.share(clips, runtime, options.seed)
    print(routing.table(results))
    print(f"in rain routing takes {cost:.2%} of the processor time of deraining")
    return origin() | routing.as_json(results, cost)


if __name__ == "__main__":
    raise SystemExit(main())
