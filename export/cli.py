"""`derain-export`: networks as ONNX files, as TensorRT engines, or as a folder for an edge device; and whether they all agree."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.options import Parser
from ..models.spec import FAST, GENERALIST, MULTIPLE, NETWORKS, SPECS
from . import manifest, runtime
from .errors import ExportError, OptionError, RuntimeMissing
from .graph import DTYPES, PERCEPTION, PRECISIONS, Graph, subnets
from .profile import Profile, profile

if TYPE_CHECKING:  # these read video and compute; the command starts without
    from .parity import Parity
    from .probe import Probe

WEIGHTS = Path(__file__).parent.parent / "models" / "weights"
FRAMES = 6
"""Frames of footage that ranges and comparisons are taken from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; 1 where `check` finds a runtime too far off, or one that should have run and did not.

    With one line 2 for what the user can mend, and 130 where Ctrl-C was pressed.
    """
    args = _parser().parse_args(argv)
    try:
        with _logged():
            return int(args.run(args))
    except (ExportError, OSError) as error:
        print(f"derain-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("derain-export: interrupted; what it has told of is kept", file=sys.stderr)
        return 130


@contextmanager
def _logged() -> Iterator[None]:
    """Our own messages go to stderr; those of the libraries, which talk a lot while exporting, nowhere."""
    root, ours, here, nowhere = logging.getLogger(), logging.getLogger("derain_video"), logging.StreamHandler(), logging.NullHandler()
    ours.setLevel(logging.INFO)
    root.addHandler(nowhere)
    ours.addHandler(here)
    try:
        yield
    finally:
        root.removeHandler(nowhere)
        ours.removeHandler(here)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="derain-export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _onnx(commands.add_parser("onnx", help="networks as ONNX files, compared with torch before they are kept"))
    _tensorrt(commands.add_parser("tensorrt", help="TensorRT engines for this GPU, built ahead of their first use"))
    _check(commands.add_parser("check", help="every runtime and precision against torch fp32, in numbers"))
    _edge(commands.add_parser("edge", help="a folder with all that an edge device needs, and no more"))
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=tuple(SPECS), default="fast", help="size of the sub-networks (default: fast)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="DIR", help="trained weights (default: those that ship)")
    parser.add_argument("--frames", type=Path, metavar="VIDEO", help="footage to calibrate on and to compare on (default: the sample)")


def _onnx(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--out", type=Path, default=manifest.GRAPHS, metavar="DIR", help="folder (default: the package's own)")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=["fp32"], help="default: fp32")
    parser.add_argument("--dtype", choices=tuple(DTYPES), nargs="+", default=["u8", "u16"], help="type of the planes; default: u8 u16")
    parser.add_argument("--clip", metavar="NAME", help="perceive with this model of open_clip, e.g. ViT-B-32 (default: the one that ships)")
    parser.add_argument("--clip-pretrained", "--pretrained", dest="pretrained", metavar="TAG", help="its tag, e.g. openai, or checkpoint file")
    every = (PERCEPTION, *NETWORKS, GENERALIST)
    parser.add_argument("--only", choices=every, nargs="+", default=every, metavar="NETWORK", help=f"some of {', '.join(every)}")
    parser.set_defaults(run=_run_onnx)


def _run_onnx(args: argparse.Namespace) -> int:
    _need("torch", "open_clip", "onnx", "onnxscript", "safetensors")
    manifest.check(args.out)
    from ..models.perception import SMALL, perceiver
    from .runtime.torch_ import module
    from .to_onnx import export

    wanted = [graph for graph in (Graph(PERCEPTION), *subnets(args.model, "u8")) if (graph.pattern or PERCEPTION) in args.only]
    if not wanted:
        raise OptionError(f"--only {' '.join(args.only)}: size {args.model} has no such network")
    other = args.clip or args.pretrained
    for first in wanted:
        heads = [replace(first, dtype=dtype) for dtype in args.dtype] if first.pattern else [first]
        graphs = [replace(head, precision=precision) for head in heads for precision in args.precision]
        net = module(first, args.weights) if first.pattern or not other else perceiver(args.clip or SMALL, args.pretrained)
        _say(args.out, export(net, graphs, args.out, lambda graph: _footage(args.frames, graph.dtype, graph.precision == "int8")))
    return 0


def _say(folder: Path, made: Iterable[tuple[Graph, Parity]]) -> None:
    for graph, found in made:
        print(f"{folder / graph.file}: {found} from torch fp32", flush=True)


def _tensorrt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=tuple(SPECS), default="fast", help="size of the sub-networks (default: fast)")
    parser.add_argument("--graphs", type=Path, metavar="DIR", help="graphs of i32 planes (default: the package's folder)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16", help="default: fp16")
    sizes = "frames to build for (1920x1080); larger ones are derained near 1080 lines"
    parser.add_argument("--size", type=_size, nargs="+", default=[(1080, 1920)], metavar="WxH", help=sizes)
    parser.set_defaults(run=_run_tensorrt)


def _run_tensorrt(args: argparse.Namespace) -> int:
    runtime.load("tensorrt", model=args.model, precision=args.precision, folder=args.graphs).close()  # says in one line what is missing
    from .runtime.tensorrt_ import TensorRt

    backend = TensorRt(args.graphs, args.precision, 0)
    for graph, shapes in dict.fromkeys(made for size in args.size for made in _engines(args, size)):
        backend.engine(graph, shapes)
        print(f"{graph.file}: engine for up to {shapes} ready", flush=True)
    return 0


def _engines(args: argparse.Namespace, size: tuple[int, int]) -> Iterator[tuple[Graph, Profile]]:
    """What frames of a height and width need: perception, their networks, and those that derain their thumbnails."""
    from ..models.align import sight  # imports OpenCV

    scale = sight(args.model).scale(min(size))
    graphs = [Graph(PERCEPTION), *subnets(args.model, "i32", args.precision)]
    for sides, some in ((size, graphs), ((size[0] // scale, size[1] // scale), subnets(FAST.name, "i32", args.precision))):
        padded = [-(-side // MULTIPLE) * MULTIPLE for side in sides]
        yield from ((graph, profile(graph, *padded)) for graph in some)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 1920x1080") from None
    return height, width


def _check(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--graphs", type=Path, metavar="DIR", help="exported graphs (default: those that ship)")
    parser.add_argument("--runtime", choices=runtime.NAMES[1:], nargs="+", default=runtime.NAMES[1:], help="default: all")
    parser.add_argument("--precision", choices=runtime.PRECISIONS[1:], nargs="+", default=(), help="default: all that are there")
    parser.add_argument("--bits", type=int, choices=(8, 10), default=8, help="depth of the frames; default: 8")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures there too")
    parser.set_defaults(run=_run_check)


def _run_check(args: argparse.Namespace) -> int:
    _need("torch", "open_clip", "safetensors")
    from .check import HEADER, Source, rows

    if args.graphs:
        manifest.read(args.graphs)
    if args.json and not args.json.absolute().parent.is_dir():
        raise OptionError(f"{args.json}: the folder is not there; make it first")
    if args.json and args.json.is_dir():
        raise OptionError(f"{args.json}: is a folder; give the name of a file")
    frames = _footage(args.frames, "u8" if args.bits == 8 else "u16", True)
    print(f"{len(frames)} frames of {args.bits} bits, {len(NETWORKS)} networks, against torch fp32; errors in code values\n{HEADER}")
    found = []
    for row in rows(frames, Source(args.model, args.graphs, args.weights), args.runtime, args.precision):
        print(row, flush=True)
        found.append(row)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n", encoding="utf-8")
    if not any(row.parity for row in found):
        offered = "; ".join(f"{name} offers {', '.join(runtime.OFFERED[name])}" for name in args.runtime)
        asked = f"{', '.join(args.runtime)} in {', '.join(args.precision) or 'all precisions'}"
        raise OptionError(f"{asked}: nothing could be compared; {'what is missing is said above' if found else offered}")
    return 0 if all(row.fits for row in found) else 1


def _edge(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to fill")
    parser.set_defaults(run=_run_edge)


def _run_edge(args: argparse.Namespace) -> int:
    _need("torch", "open_clip", "onnx", "onnxscript", "safetensors")
    manifest.check(args.folder)
    from . import edge

    _say(args.folder, edge.export(args.folder, args.model, args.weights, _footage(args.frames, "u8", True)))
    return 0


def _footage(path: Path | None, dtype: str, needed: bool) -> list[Probe]:
    """Frames of the video that the user gave, or, where frames are needed, of the sample."""
    from .probe import SAMPLE, footage

    if path is None and not needed:
        return []
    if path is None and not SAMPLE.is_file():
        raise OptionError("footage is needed, and the sample clip is not in an installed package; give a rainy video with --frames")
    return footage(path or SAMPLE, FRAMES, 255 if dtype in ("", "u8") else 1023)


def _need(*modules: str) -> None:
    """RuntimeMissing unless all modules of the [train] extra that a command needs are there."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise RuntimeMissing(f"{module} is not installed: pip install 'derain-video[train]'")


if __name__ == "__main__":
    sys.exit(main())
