"""Live video for a bounded time with a fault every few seconds: `python tests/soak.py --seconds 1200 --every 20`.

Prints one line of figures, and exits with 1 if frames went missing uncounted, memory grew, a thread, process or file descriptor
was left, or the delay left its bounds. Delay is from a picture's number being drawn to the same number being read at the far end.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from conftest import FakeRuntime
from live_peers import Publisher, Reader
from rtsp_server import Running

from derain_video.export.runtime import Runtime, load
from derain_video.pipeline.live.address import Address
from derain_video.pipeline.live.clock import Backoff
from derain_video.pipeline.live.intake import Reading
from derain_video.pipeline.live.state import LiveReport
from derain_video.pipeline.live.stream import LiveJob, run_live

SETTLED = 2.0
"""Seconds after a connection's first picture from which its delays count: players start late and catch up."""


class Forgetful(FakeRuntime):
    """Remembers nothing of what it was asked, so memory is that of the pipeline."""

    def derain(self, *planes: object) -> object:
        self.states.clear()
        return super().derain(*planes)


def stall(server: Running, publisher: Publisher) -> None:
    server.tell("stall")
    threading.Timer(4, server.tell, ["unstall"]).start()


def loss(server: Running, publisher: Publisher) -> None:
    server.tell("loss 20")
    threading.Timer(3, server.tell, ["loss 0"]).start()


def silence(server: Running, publisher: Publisher) -> None:
    publisher.paused.set()
    threading.Timer(4, publisher.paused.clear).start()


def resize(server: Running, publisher: Publisher) -> None:
    size, *rest = publisher.kind
    publisher.kind = ((192, 128) if size == (128, 64) else (128, 64), *rest)


def recode(server: Running, publisher: Publisher) -> None:
    size, _, codec = publisher.kind
    publisher.kind = (size, *((10, "libx265") if codec == "libx264" else (25, "libx264")))


FAULTS: dict[str, Callable[[Running, Publisher], None]] = {
    "recode": recode,  # first, with "resize": codecs that are used for the first time take memory, and that is not growth
    "resize": resize,
    "kick": lambda server, _: server.tell("kick"),
    "kick camera": lambda server, _: server.tell("kick in"),
    "kick us": lambda server, _: server.tell("kick out"),
    "loss": loss,
    "stall": stall,
    "silence": silence,
}


def memory() -> float:
    """Resident MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def left_open() -> tuple[int, int]:
    """Threads and file descriptors."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def settled(reader: Reader, publisher: Publisher) -> list[float]:
    """Delays in seconds, but for the first pictures of each connection."""
    begins: dict[int, float] = {}
    delays = []
    for number, _, when, session in reader.numbers:
        begins.setdefault(session, when)
        if when - begins[session] > SETTLED and number in publisher.sent:
            delays.append(when - publisher.sent[number])
    return delays


def soak(seconds: float, every: float, runtime: Runtime) -> tuple[LiveReport, list[float], list[float], list[str]]:
    """The report, delays, memory by the second, and the faults made."""
    report, stop, made = LiveReport(), threading.Event(), []
    faults: Iterator[str] = itertools.cycle(FAULTS)
    grown: list[float] = []
    with ExitStack() as opened:
        server = opened.enter_context(Running())
        publisher = opened.enter_context(Publisher(server.url("in")))
        reader = opened.enter_context(Reader(server.url("out")))
        job = LiveJob(Address(server.url("in")), (Address(server.url("out")),), Reading(backoff=partial(Backoff, 0.3, 2.0)))
        thread = threading.Thread(target=run_live, args=(job, runtime, report, stop))
        thread.start()
        begin = last = time.monotonic()
        while time.monotonic() - begin < seconds:
            time.sleep(1)
            grown.append(memory())
            if time.monotonic() - last > every and seconds - (time.monotonic() - begin) > 5:
                last = time.monotonic()
                made.append(next(faults))
                FAULTS[made[-1]](server, publisher)
        stop.set()
        thread.join()
        return report, settled(reader, publisher), grown, made


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=1200)
    p.add_argument("--every", type=float, default=20, help="seconds between faults")
    p.add_argument("--p95", type=float, default=1.0, help="seconds that the 95th percentile of the delay may be")
    p.add_argument("--growth", type=float, default=30, help="MiB that memory may grow by after the first third")
    p.add_argument("--network", action="store_true", help="the shipped networks instead of one that answers at once")
    p.add_argument("-v", "--verbose", action="store_true")
    args = p.parse_args(argv)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR)
    before = left_open()
    with load() if args.network else Forgetful() as runtime:
        report, delays, grown, made = soak(args.seconds, args.every, runtime)
    after = left_open()
    p50, p95 = np.quantile(delays, [0.5, 0.95]) if delays else (np.inf, np.inf)
    growth = np.mean(grown[-5:]) - grown[len(grown) // 3]
    output = report.outputs[0]
    wrong = {
        "frames went missing uncounted": report.arrived != report.frames + report.dropped or report.frames != output.sent + output.dropped,
        "nothing was read": not delays,
        f"delay p95 {p95:.2f} s": p95 > args.p95,
        f"memory grew by {growth:.0f} MiB": growth > args.growth,
        f"threads, descriptors {before} -> {after}": after[0] > before[0] or after[1] > before[1] + 2,
    }
    print(
        f"{args.seconds:.0f} s, {len(made)} faults ({', '.join(sorted(set(made)))}): {report.arrived} in, {report.frames} out, "
        f"{report.dropped} dropped; sent {output.sent}, dropped by the output {output.dropped}; reconnects {report.reconnects} in, "
        f"{output.reconnects} out; delay p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms; memory {growth:+.1f} MiB"
    )
    for what in (what for what, is_so in wrong.items() if is_so):
        print("wrong:", what)
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
