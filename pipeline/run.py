"""One job from file to file: write(sink, restore(align(route(read(source)))))."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

from ..export.runtime.base import TENSORS, Runtime
from ..export.runtime.threads import cores
from . import hwaccel, part
from .ahead import ahead
from .codec import Settings
from .compare import aside, compared, mask_video, widened
from .decode import Keep, Source, open_source
from .derain import DONE, align, restore
from .encode import Sink, open_sink
from .errors import DerainError, OptionError, WriteError
from .frame import Frame
from .part import Facts, Kept
from .pictures import PictureSink, PictureSource, kind, open_pictures
from .place import check_folder
from .report import Report
from .route import route
from .video import LIMIT, Packet, Span, Video

AHEAD = 4
"""Frames decoded before they are needed."""

DERAINED = 2
"""Derained frames that wait for the encoder, which holds as many back itself."""

ALIGNED = 1
"""Frames that wait for the network with their neighbours aligned: the next ones are aligned while it runs."""

ALIGNERS = 8
"""Most frames that are aligned at once."""

Reader = Source | PictureSource
Writer = Sink | PictureSink

log = logging.getLogger("derain_video")


class Interrupted(DerainError):
    """Stopped before the first frame was written."""


@dataclass(frozen=True)
class Job:
    """What to do. compare: empty, side or split. mask: video of the rain mask. limit: most pixels of a picture, 0 for any.

    hardware: decode on the GPU where that works; for encoding `settings` has it. resume: continue what a run that was cut off has left.
    whole: frames of very many lines are derained at their own size.
    """

    source: Path
    target: Path
    span: Span = Span()
    settings: Settings = Settings()
    pattern: str = "auto"
    compare: str = ""
    mask: Path | None = None
    limit: int = LIMIT
    rate: Fraction = Fraction(25)
    hardware: bool = False
    resume: bool = False
    whole: bool = False

    def facts(self, model: str) -> Facts:
        """What decides about its pictures, for a run that continues it. model: size of the networks."""
        there = self.source.stat() if self.source.is_file() else None
        return {
            "input": str(self.source.resolve()),
            "bytes of input": there.st_size if there else None,
            "time of input": there.st_mtime_ns if there else None,
            "start and duration": [self.span.start, self.span.duration],
            "codec, crf, preset": [self.settings.codec, self.settings.crf, self.settings.preset],
            "pattern": self.pattern,
            "model": model,
            "compare": self.compare,
            "rate": str(self.rate),
            "full size": self.whole,
        }


def run(
    job: Job,
    runtime: Runtime,
    report: Report | None = None,
    stop: threading.Event | None = None,
    shown: Callable[[Video], AbstractContextManager[Callable[[Frame], None]]] | None = None,
) -> Report:
    """Does a job, and returns its report. Outputs appear under their names when all went well, or after `stop` was set.

    stop: when set, from a signal handler say, the outputs are finished with the frames done so far; Interrupted if there are none.
    shown: gives a progress display for the video; what it yields is called with each frame written.
    DerainError for whatever the user can mend.
    """
    report, stop = report or Report(), stop or threading.Event()
    check_targets(job)
    facts = job.facts(runtime.model)
    kept = _kept(job, facts)
    done = kept.count if kept else 0
    with ExitStack() as opened:
        opened.enter_context(side_by_side())
        source = opened.enter_context(open_reader(job, report, keeper(job, runtime)))
        read = opened.enter_context(closing(ahead(source.read(), AHEAD)))
        aligned = align(route(read, runtime, report, job.pattern), runtime, report, done=done, whole=job.whole, workers=aligners())
        ready = opened.enter_context(closing(ahead(aligned, ALIGNED)))
        frames: Iterator[Frame] = opened.enter_context(closing(ahead(restore(ready, runtime, report, keep=bool(job.compare)), DERAINED)))
        frames = until(stop, frames)
        if job.mask:
            frames = aside(frames, opened.enter_context(_mask_writer(job, source.video, report)).write)
        if job.compare:
            frames = compared(frames, job.compare, source.video)
        sink = opened.enter_context(_writer(job, source, report, facts, kept))
        show = opened.enter_context(shown(source.video)) if shown else _silent
        write(sink, frames, source, report, stop, show)
    return report


@contextmanager
def side_by_side() -> Iterator[None]:
    """Leaves the cores to threads that work on a frame each: OpenCV's own, which share one, would wait for each other."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def aligners() -> int:
    """Frames to align at once: on half of the cores, which sleep when the network is the slower one."""
    return min(ALIGNERS, max(1, cores() // 2))


def until(stop: threading.Event, frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames that come before `stop` is set."""
    for frame in frames:
        if stop.is_set():
            return
        yield frame


def write(sink: Writer, frames: Iterator[Frame], source: Reader, report: Report, stop: threading.Event, show: Callable[[Frame], None]) -> None:
    """Encodes every frame, with the packets of the other streams in between. stop: whether frames ended early."""
    end = Fraction(0)
    for frame in frames:
        with report.clock("encode"):
            sink.copy(source.copied)
            sink.write(frame)
        report.frames += frame.pattern != DONE
        end = (frame.pts + frame.duration) * frame.time_base
        show(frame)
    report.interrupted = stop.is_set()
    if report.interrupted and not report.frames:
        raise Interrupted(f"interrupted before the first frame: nothing was written to {sink.path}")
    sink.copy(_heard(source, end) if report.interrupted else source.copied)


def _heard(source: Reader, end: Fraction) -> deque[Packet]:
    """What is left of the other streams up to there, in seconds; the decoder may still add to it."""
    heard = deque[Packet]()
    while source.copied:
        packet = source.copied.popleft()
        if packet.pts is not None and packet.pts * packet.time_base - source.zero < end:
            heard.append(packet)
    return heard


def open_reader(job: Job, report: Report, keep: Keep | None = None) -> AbstractContextManager[Reader]:
    """The job's input, a video or pictures, for a `with`. keep: as of open_source. OpenError as there."""
    if kind(job.source) == "video":
        return open_source(job.source, job.span, report, job.limit, job.hardware, keep)
    return _pictures(job, report)


def keeper(job: Job, runtime: Runtime) -> Keep | None:
    """What keeps frames on the GPU, where they are decoded there, the runtime takes them there, and nothing else asks for derained planes."""
    if not job.hardware or job.compare or job.mask or (runtime.name, runtime.device) not in TENSORS or not hwaccel.STAYS:
        return None
    from .resident import copied  # torch, which takes seconds to import, and need not be there

    return copied


@contextmanager
def _pictures(job: Job, report: Report) -> Iterator[PictureSource]:
    yield PictureSource(job.source, job.span, report, job.limit, job.rate, alike=kind(job.target, kind(job.source)) == "video")


def _kept(job: Job, facts: Facts) -> Kept | None:
    """What to continue, if that was asked for."""
    if not job.resume:
        return None
    if job.mask or kind(job.target, kind(job.source)) != "video":
        raise OptionError(f"--resume continues a video without --mask; {job.mask or job.target} begins anew: leave --resume out")
    kept = part.resumed(job.target, facts)
    log.info("%s", f"{kept.path}: {kept.count} frames are kept" if kept else f"{job.target}: nothing to continue, begins anew")
    return kept


def _writer(job: Job, source: Reader, report: Report, facts: Facts, kept: Kept | None) -> AbstractContextManager[Writer]:
    video = widened(source.video, job.compare)
    if kind(job.target, kind(job.source)) != "video":
        return open_pictures(job.target, kind(job.source), video, report, source.paths if isinstance(source, PictureSource) else [])
    tracks = source if isinstance(source, Source) else None
    return open_sink(job.target, video, job.settings, report, tracks, None if job.mask else facts, kept)


def _mask_writer(job: Job, video: Video, report: Report) -> AbstractContextManager[Writer]:
    assert job.mask
    if kind(job.mask, kind(job.source)) != "video":
        return open_pictures(job.mask, kind(job.source), mask_video(video), report)
    return open_sink(job.mask, mask_video(video), job.settings, report)


def check_targets(job: Job, *others: Path | None) -> None:
    """WriteError if an output, of the job or another, or what it is written as first, is an input or another output, if it is the root of all
    folders, if its folder is not there, or if another run is writing it. others: files."""
    seen = [job.source.resolve()]
    for path in filter(None, others):
        if path.is_dir():
            raise WriteError(f"{path}: is a folder; name a file")
    for path in filter(None, (job.target, job.mask, *others)):
        if not path.resolve().name:
            raise WriteError(f"{path}: is no place for an output; name a file or a folder")
        named = path if path.name else path.absolute()  # `.` has no name
        for each in (path, *part.names(named), part.note(named), part.lock(named)):
            if each.resolve() in seen or _same(each, job.source):
                begun = "" if each == path else f"{each}, as which it is begun, "
                raise WriteError(f"{path}: {begun}is the input, or another output; give it a name of its own")
            seen.append(each.resolve())
        check_folder(path)
        part.check_alone(named)


def _same(path: Path, source: Path) -> bool:
    return path.exists() and source.exists() and path.samefile(source)


def _silent(frame: Frame) -> None:
    pass
