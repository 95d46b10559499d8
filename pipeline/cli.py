"""derain-video IN OUT: takes the rain out of a video, a picture, a picture sequence or a folder of pictures."""

from __future__ import annotations

import argparse
import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from .. import __version__
from ..export.runtime import MODELS, NAMES, PRECISIONS, Runtime, load
from ..models.options import THREADS, Parser, number
from ..models.spec import PATTERNS
from . import hwaccel
from .codec import Settings
from .compare import WAYS
from .errors import FAULTS, WriteError
from .live.address import SCHEMES, is_live
from .part import left, note
from .pictures import ENDINGS, kind, listed
from .progress import Lines, bar
from .report import Report
from .run import Interrupted, Job, check_targets, run
from .trace import Trace
from .video import LIMIT, Span

EPILOG = """\
IN and OUT are video files, pictures (.png, .jpg, ...), numbered pictures (img_%04d.png) or folders of pictures.
Live streams (rtsp://camera/1 rtsp://server/clean) have options of their own: derain-video - --help shows them.
Many of them: derain-video serve --help.
Every frame keeps its time; sound, subtitles, chapters, tags, colour and bit depth are kept; what cannot be kept is said.
Ctrl-C or SIGTERM finishes OUT with the frames done so far (exit code 130 or 143); a second one leaves nothing.
While it is written out.mp4 is out.part.mp4, which plays. After kill -9, a crash or a full disk --resume keeps its pictures:
the input is read from its beginning, the frames that are done are not derained again, and OUT has each once. It needs room for a second
part until it is done. Without anything to continue it begins anew, so it does no harm to give it always.
Exit code 2 with one line says what is wrong with the input, the output or an option.
"""

STDERR = 2
"""Its file descriptor."""

M_ARENA_MAX = -8
"""Of glibc's mallopt: most arenas."""

log = logging.getLogger("derain_video")


def parser() -> Parser:
    p = Parser("derain-video", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", type=_path, metavar="IN")
    p.add_argument("target", type=_output, metavar="OUT")
    p.add_argument("--version", action="version", version=f"derain-video {__version__}")
    network_options(p.add_argument_group("networks"))
    _video_options(p.add_argument_group("video"))
    _output_options(p.add_argument_group("what is written and said"))
    return p


def network_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--runtime", choices=NAMES, default="auto", help="what computes the networks; auto takes the fastest that is present")
    larger = "fast, or quality, better and slower; auto: quality with torch on a GPU, but for live streams, else fast"
    g.add_argument("--model", choices=MODELS, default="auto", help=f"size of the networks: {larger}")
    g.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is the fastest that is as good as fp32 to the eye")
    g.add_argument("--pattern", choices=("auto", *PATTERNS), default="auto", help="use the network for this rain throughout; default: look")
    g.add_argument("--threads", type=number(int, 0, THREADS), default=0, metavar="N", help="threads for the networks; default: as many as leave room")


def _video_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--codec", default="", help="encoder, h264 or libx265 say; default: the input's if it is current and fits OUT, else h264")
    g.add_argument("--crf", type=number(float, 0, 63), help="quality as the encoder counts it, less is better; default: near-transparent")
    g.add_argument("--preset", default="", help="speed as the encoder names it; default: a fast one")
    g.add_argument("--hwaccel", choices=hwaccel.WAYS, default="none", help="auto: decode and encode on an NVIDIA GPU where it can; default: none")
    g.add_argument("--start", type=_seconds, default=0.0, metavar="TIME", help="begin there: seconds or [h:]m:s")
    g.add_argument("--duration", type=_seconds, metavar="TIME", help="take this much")
    rate = number(Fraction, Fraction(1, 1000), 1000)
    g.add_argument("--rate", type=rate, default=Fraction(25), metavar="FPS", help="frames/s of numbered pictures; default: 25")
    g.add_argument("--full-size", action="store_true", help="derain frames of 1620 lines and more at their own size: slower")
    g.add_argument("--max-pixels", type=number(int, 0), default=LIMIT, metavar="N", help="refuse larger pictures; 0 takes any; default: %(default)s")


def _output_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--compare", choices=WAYS, default="", help="show before and after: whole pictures side by side, or split down the middle")
    g.add_argument("--mask", type=_output, metavar="FILE", help="write the rain mask as a video too")
    g.add_argument("--report", type=Path, metavar="FILE", help="write counts and times as JSON")
    g.add_argument("--trace", type=Path, metavar="FILE", help="write when each stage worked on which frame, as JSON that Perfetto opens")
    g.add_argument("--resume", action="store_true", help="continue OUT where a run of the same job was killed or found the disk full")
    g.add_argument("-y", "--yes", action="store_true", help="replace outputs that are there")
    g.add_argument("-n", "--no", action="store_true", help="never replace outputs; default: ask on a terminal, else refuse")
    g.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    g.add_argument("-v", "--verbose", action="store_true", help="say more")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. 0: done; 2: one line on stderr says what is wrong; 130 or 143: stopped by a signal."""
    words = list(sys.argv[1:] if argv is None else argv)
    one_arena()
    open_stderr()
    if words[:1] == ["serve"]:
        return importlib.import_module(".live.serve", __package__).main(words[1:])  # type: ignore[no-any-return]
    if is_live(words) or any(word.startswith("@") and not Path(word).exists() for word in words):
        return importlib.import_module(".live.cli", __package__).main(words)  # type: ignore[no-any-return]
    args = parser().parse_args(argv)
    with logged(args), signals() as stop:
        try:
            return _run(args, stop)
        except Interrupted as error:
            log.error("%s", error)
            return stop.code
        except (*FAULTS, OSError) as error:
            log.error("%s", " ".join(str(error).split()))
            return 2
        except KeyboardInterrupt:
            log.error("stopped at once; OUT was not written")
            return stop.code or 130


def one_arena() -> None:
    """Has glibc keep what threads have freed in one place for all of them, not in one for each: tens of MiB less, and no slower."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)


def open_stderr() -> None:
    """Has a stderr that is closed lead nowhere: libraries would write into the file that took its number."""
    if sys.stderr is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDERR)
        sys.stderr = open(STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the program runs


def _run(args: argparse.Namespace, stop: Stop) -> int:
    job, report = _job(args), Report(trace=Trace() if args.trace else None)
    check_targets(job, args.report, args.trace)
    for path in filter(None, (job.target, job.mask, args.report, args.trace)):
        _may_replace(path, args)
    for target in filter(None, (None if job.resume else job.target, job.mask)):
        for path in left(target):
            how = "--resume continues it, -y begins anew" if note(target).exists() else "-y begins anew"
            _may_replace(path, args, f"is left of a run that was cut off; {how}")
    with load(args.runtime, model=args.model, precision=args.precision, threads=args.threads) as runtime:
        report.facts = _facts(args, runtime)
        run(job, runtime, report, stop, None if args.quiet else bar)
    if args.report:
        report.save(args.report)
    if report.trace:
        report.trace.save(args.trace)
    done = f"{job.target}: interrupted, the frames done so far are in it: " if report.interrupted else f"{job.target}: "
    log.info("%s%s", done, report.line())
    return stop.code


def _job(args: argparse.Namespace) -> Job:
    span = Span(args.start, args.duration)
    hardware = hwaccel.usable(args.hwaccel)
    settings = Settings(args.codec, args.crf, args.preset, hardware)
    return Job(
        args.source,
        args.target,
        span,
        settings,
        args.pattern,
        args.compare,
        args.mask,
        args.max_pixels,
        args.rate,
        hardware,
        args.resume,
        args.full_size,
    )


def _facts(args: argparse.Namespace, runtime: Runtime) -> dict[str, str]:
    log.debug("runtime %s, %s on %s, model %s", runtime.name, runtime.precision, runtime.device, runtime.model)
    return {
        "version": __version__,
        "input": str(args.source),
        "output": str(args.target),
        "runtime": runtime.name,
        "precision": runtime.precision,
        "device": runtime.device,
        "model": runtime.model,
    }


def _may_replace(path: Path, args: argparse.Namespace, why: str = "is there already; -y replaces it") -> None:
    """WriteError if `path` is there and may not be replaced."""
    if args.yes or not _there(path):
        return
    if not args.no and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"derain-video: {path} {why.partition(';')[0]}. Replace it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise WriteError(f"{path}: {why}")


def _there(path: Path) -> bool:
    if path.is_dir():
        return any(p.suffix.lower() in ENDINGS for p in path.iterdir())
    return bool(listed(path, "sequence")) if kind(path) == "sequence" else path.exists()


def _path(text: str) -> Path:
    if not text or "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file nor a stream of a kind that is known: {', '.join(SCHEMES)}")
    return Path(text)


def _output(text: str) -> Path:
    """Where a link points at, which so stays one."""
    path = _path(text)
    return path.resolve() if path.is_symlink() else path


def _seconds(text: str) -> float:
    """12.5, 1:02.5 or 1:00:02 as seconds."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(part >= 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds or [h:]m:s, 12.5 or 1:02:03 say")
    return sum((part * 60.0**place for place, part in enumerate(reversed(parts))), 0.0)


@contextmanager
def logged(args: argparse.Namespace) -> Iterator[None]:
    handler = Lines()
    log.addHandler(handler)
    log.propagate = False  # libraries that set up the root logger would say every line twice
    log.setLevel(logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = True


class Stop(threading.Event):
    """Set by the first signal; the second one ends the program at once. code: exit code for the signal, 0 before one came."""

    code = 0

    def __call__(self, number: int, frame: object) -> None:
        self.code = 128 + number
        if self.is_set():
            raise KeyboardInterrupt
        self.set()


@contextmanager
def signals() -> Iterator[Stop]:
    """Handlers for Ctrl-C, SIGTERM and a terminal that closes, where the command runs in the main thread."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)  # which Windows has not, and nohup has ignored
    numbers = {signal.SIGINT, signal.SIGTERM, hang_up} - ({hang_up} if signal.getsignal(hang_up) == signal.SIG_IGN else set())
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
