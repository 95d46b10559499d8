"""derain-video IN OUT [OUT ...] live: takes the rain out of a stream while it comes, and publishes it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ... import __version__
from ...export.runtime import Runtime, load
from ...models.options import Parser, number
from ..cli import Stop, logged, network_options, signals
from ..codec import PRESETS, Settings
from ..errors import FAULTS, OptionError, WriteError
from ..place import check_folder
from ..video import LIMIT
from .address import SCHEMES, Address, is_live, redacted
from .intake import Reading
from .state import LiveReport
from .stream import LiveJob, run_live

EPILOG = """\
IN: rtsp:// rtmp:// http(s)://....m3u8 udp:// tcp:// /dev/video0, a video file (played at its own speed), or - for stdin (MPEG-TS or what it is).
OUT: rtsp:// rtmp:// udp:// tcp:// (MPEG-TS), NAME.m3u8 (rolling HLS), NAME.mp4 or .mkv (recorded in files named by the time),
or - for stdout (MPEG-TS). Several OUTs get the same stream. The newest frame wins; what goes missing is counted.
A peer that goes away is tried again for ever. Ctrl-C or SIGTERM ends within 2 s (exit code 130 or 143).
@FILE reads arguments from a file, one a line: a URL with a password in it does not show in `ps` then.
"""

DAY = 86_400
"""In seconds."""

PARENT = "DERAIN_PARENT"
"""In the environment of a process that goes when its parent, whose number this is, has gone."""

log = logging.getLogger("derain_video")


class LiveParser(Parser):
    """Shows no credentials."""

    def error(self, message: str) -> NoReturn:
        super().error(redacted(message))


def parser() -> Parser:
    p = LiveParser(
        "derain-video", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars="@"
    )
    p.add_argument("source", type=Address, metavar="IN")
    p.add_argument("targets", type=Address, nargs="+", metavar="OUT")
    network_options(p.add_argument_group("networks"))
    _stream_options(p.add_argument_group("live"))
    _say_options(p.add_argument_group("what is said"))
    return p


def _stream_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--wait", action="store_true", help="keep each frame and let the camera wait; default: newest frame wins")
    g.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="how RTSP cameras send; default: tcp")
    g.add_argument("--attempts", type=number(int, 0), default=0, metavar="N", help="give up IN after N tries in a row without a picture")
    g.add_argument("--crf", type=number(float, 0, 63), help="quality as x264 counts it, less is better; default: 23")
    g.add_argument("--preset", choices=PRESETS, default="", metavar="NAME", help="speed as x264 names it; default: veryfast")
    g.add_argument("--bitrate", type=number(int, 0, 1_000_000), default=0, metavar="KBIT", help="most kbit/s; default: no limit")
    g.add_argument("--segment", type=number(float, 1.0, DAY), default=60.0, metavar="SECONDS", help="length of each recorded file; default: 60")
    g.add_argument("--max-pixels", type=number(int, 0), default=LIMIT, metavar="N", help="refuse larger pictures; 0 takes any; default: %(default)s")
    g.add_argument("--patience", type=number(float, 0.1, DAY), default=5.0, metavar="S", help="too few frames for S s: give something up; default: 5")


def _say_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--state", type=Path, metavar="FOLDER", help="keep state.json, before.jpg and after.jpg there, renewed each second")
    g.add_argument("--report", type=Path, metavar="FILE", help="write counts and times as JSON at the end")
    g.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    g.add_argument("-v", "--verbose", action="store_true", help="say more")


def main(argv: Sequence[str]) -> int:
    """Runs the command. 0: the input has ended; 2: one line on stderr says what is wrong; 130 or 143: stopped by a signal."""
    hide(argv)
    args = parser().parse_args(argv)
    with logged(args), signals() as stop:
        mind(stop)
        try:
            return _run(args, stop)
        except (*FAULTS, OSError) as error:
            log.error("%s", redacted(" ".join(str(error).split())))
            return 2
        except KeyboardInterrupt:
            return stop.code or 130


def mind(stop: Stop) -> None:
    """Sets `stop` when the program that told its number in PARENT is gone, however it went."""
    if not (parent := os.environ.pop(PARENT, "")):
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1)
        stop(signal.SIGTERM, None)

    threading.Thread(target=watch, name="derain-mind", daemon=True).start()


def hide(argv: Sequence[str]) -> None:
    """Starts the program anew with its arguments in a nameless file if they hold credentials, so that `ps` does not show them."""
    words = sys.argv[1:]
    if list(argv) != words or not any(Address(word).secret for word in words) or not hasattr(os, "memfd_create"):
        return
    told = os.memfd_create("arguments", 0)
    os.write(told, "\n".join(words).encode())
    os.execv(sys.executable, [sys.executable, "-m", "derain_video.pipeline.live.cli", f"@/proc/self/fd/{told}"])


def _run(args: argparse.Namespace, stop: Stop) -> int:
    job, report = job_of(args), LiveReport()
    model = "fast" if args.model == "auto" else args.model
    with _load(args, model) as runtime:
        report.facts = {
            "version": __version__, "input": str(job.source), "runtime": runtime.name,
            "precision": runtime.precision, "device": runtime.device, "model": model,
        }  # fmt: skip
        gone = run_live(job, runtime, report, stop, (lambda: _load(args, "fast")) if model != "fast" else None)
    report.interrupted = stop.is_set()
    if args.report:
        report.save(args.report)
    log.info("%s: %s", job.source, report.line())
    if not gone:
        _leave(stop.code)
    return stop.code


def _leave(code: int) -> None:
    """Ends the process at once: some thread hangs in FFmpeg, and would keep it."""
    log.debug("a peer hangs; leaving it")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _load(args: argparse.Namespace, model: str) -> Runtime:
    return load(args.runtime, model=model, precision=args.precision, threads=args.threads)


def job_of(args: argparse.Namespace) -> LiveJob:
    """OpenError, OptionError or WriteError for what can never work."""
    if not is_live([args.source.url, *(target.url for target in args.targets)]):
        raise OptionError(f"{args.source}: neither IN nor OUT is live; leave out the live options")
    if args.source.foreign:
        raise OptionError(f"{args.source}: no stream of a kind that is known: {', '.join(SCHEMES)}")
    if args.source.scheme == "file" and not Path(args.source.url).exists():
        raise OptionError(f"{args.source}: no such file")
    if args.report:
        check_folder(args.report)
        if args.report.is_dir():
            raise WriteError(f"{args.report}: is a folder; name a file")
    reading = Reading(args.transport, args.wait, args.attempts, args.max_pixels)
    settings = Settings(crf=args.crf, preset=args.preset)
    return LiveJob(
        args.source, tuple(args.targets), reading, settings, args.bitrate * 1000, args.pattern, args.segment, args.state, args.patience
    )


if __name__ == "__main__":
    from derain_video.pipeline.live import cli  # the module of the package, not this copy named __main__

    sys.exit(cli.main(sys.argv[1:]))
