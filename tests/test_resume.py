"""Crashes: what is on the disk plays, and --resume makes of it what an undisturbed run would have made."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from derain_video.pipeline import fragments, part
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import OptionError, WriteError
from derain_video.pipeline.run import Interrupted, Job, run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")

PROGRAM = """
    import resource, sys, time
    sys.path[:0] = [{tests!r}]
    from conftest import FakeRuntime
    from derain_video.models.align import darker
    from derain_video.pipeline import cli, derain
    derain.thumbnails = lambda *about: darker
    class Slow(FakeRuntime):
        def derain(self, *planes):
            time.sleep({pause})
            print(len(self.calls), flush=True)
            return super().derain(*planes)
    cli.load = lambda *a, **k: Slow()
    if {room}:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
    sys.exit(cli.main(sys.argv[1:]))
"""

VARIABLE = np.cumsum(random.Random(1).choices((300, 512, 900), k=200)).tolist()


def start(*argv: object, pause: float = 0.004, room: int = 0) -> subprocess.Popen:
    program = textwrap.dedent(PROGRAM.format(tests=str(Path(__file__).parent), pause=pause, room=room))
    return subprocess.Popen([sys.executable, "-c", program, *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_after(calls: int, *argv: object) -> int:
    """Kills a run after so many frames went through the network; returns how many did."""
    process = start(*argv)
    done = 0
    for text in process.stdout:
        done = int(text) + 1
        if done == calls:
            process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return done


def resume(*argv: object) -> str:
    process = start(*argv, "--resume", pause=0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("ending, subtitles", [(".mp4", False), (".mov", False), (".mkv", False), (".mkv", True)])
def test_kill_leaves_all_but_the_last_second(clip, look, ending, subtitles):
    source = clip("in.mkv", times=[i * 512 for i in range(200)], sound=True, subtitles=subtitles)
    out = source.with_name("out" + ending)
    done = kill_after(150, source, out)
    left = source.with_name("out.part" + ending)
    assert sorted(p.name for p in source.parent.iterdir()) == sorted(["in.mkv", left.name, f"{out.name}.job.json", f"{out.name}.lock"])
    assert len(look(left).pictures) >= done - 25


@pytest.mark.parametrize(
    "ending, codec, options",
    [
        (".mp4", "libx264", []),
        (".mp4", "libx265", []),
        (".mkv", "libx264", []),
        (".mkv", "libx265", []),
        (".mov", "libx264", ["--compare", "split", "--start", "0.4"]),
        (".mp4", "libsvtav1", []),
        (".webm", "libvpx-vp9", []),
        (".mkv", "ffv1", []),
        (".ts", "libx264", []),
        (".mp4", "libx264", ["--codec", "mpeg4"]),
    ],
)
def test_a_killed_run_is_continued(clip, look, ending, codec, options):
    source = clip("in.mkv" if codec == "ffv1" else "in.mp4", times=VARIABLE, sound=codec != "libvpx-vp9", codec=codec)
    whole, out = source.with_name("whole" + ending), source.with_name("out" + ending)
    assert start(source, whole, *options, pause=0).wait() == 0
    kill_after(150, source, out, *options)
    said = resume(source, out, *options)
    assert "out.part" in said and " frames are kept" in said
    a, b = look(whole), look(out)
    assert b.times == a.times and len(b.times) >= 180
    assert b.packets == a.packets
    for one, other in zip(a.pictures, b.pictures, strict=True):
        assert np.abs(_luma(one) - _luma(other)).mean() < 3  # each in its place: the picture moves by 2 pixels a frame
    assert sorted(p.name for p in source.parent.iterdir()) == sorted([source.name, whole.name, out.name])


def _luma(picture: av.VideoFrame) -> np.ndarray:
    plane = picture.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: picture.height, : picture.width].astype(int)


def test_kills_at_any_time(clip, look):
    """Killed again and again, also while it continues."""
    source, chance = clip(times=VARIABLE, sound=True), random.Random(7)
    out, whole = source.with_name("out.mp4"), source.with_name("whole.mp4")
    assert start(source, whole, pause=0).wait() == 0
    kill_after(90, source, out)
    kept = part.resumed(out, {}).count
    assert kept > 40
    for _ in range(4):
        kill_after(chance.randrange(2, 60), source, out, "--resume")
        now = part.resumed(out, {}).count
        assert now >= kept
        kept = now
    resume(source, out)
    assert look(out).times == look(whole).times and look(out).packets == look(whole).packets
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4", "whole.mp4"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_full_disk_keeps_the_part(clip, look, ending):
    source = clip(times=[i * 512 for i in range(300)], sound=True)
    out = source.with_name("out" + ending)
    process = start(source, out, pause=0, room=60_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    left = source.with_name("out.part" + ending)
    assert said == f"derain-video: {out}: no room left on the disk; free some, and --resume continues {left}\n"
    assert not out.exists() and 10 < len(look(left).pictures) < 300
    assert f"{left}: " in resume(source, out)
    assert len(look(out).pictures) == 300


def test_a_part_ends_with_a_whole_fragment(tmp_path):
    def box(kind: bytes, content: bytes, wide: bool = False) -> bytes:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content if wide else struct.pack(">I4s", 8 + len(content), kind) + content

    whole = box(b"ftyp", b"isom") + box(b"moov", bytes(50)) + box(b"moof", bytes(30)) + box(b"mdat", bytes(90), wide=True)
    more = box(b"moof", bytes(30)) + box(b"mdat", bytes(40))
    for length in range(len(more) + 1):
        file = tmp_path / "a.part.mp4"
        file.write_bytes(whole + more[:length])
        fragments.cut(file)
        assert file.read_bytes() == whole + (more if length == len(more) else b"")
    for other in (whole[:40], whole + box(b"moov", bytes(20))):
        file.write_bytes(other)
        fragments.cut(file)
        assert file.read_bytes() == other


def _cut_off(clip) -> tuple[Path, Path]:
    source = clip(times=[i * 512 for i in range(150)])
    out = source.with_name("out.mp4")
    kill_after(100, source, out)
    return source, out


def test_another_job_does_not_continue_it(clip, runtime):
    source, out = _cut_off(clip)
    before = {path: path.read_bytes() for path in out.parent.iterdir() if path != part.lock(out)}
    for job, word in [
        (Job(source, out, resume=True, pattern="light"), "pattern 'auto', not 'light'"),
        (Job(source, out, resume=True, settings=Settings(crf=30)), "crf"),
        (Job(clip("other.mp4"), out, resume=True), "input"),
    ]:
        with pytest.raises(WriteError, match=word):
            run(job, runtime)
    runtime.model = "quality"
    with pytest.raises(WriteError, match="model 'fast', not 'quality'"):
        run(Job(source, out, resume=True), runtime)
    runtime.model = "fast"
    with pytest.raises(OptionError, match="mask"):
        run(Job(source, out, resume=True, mask=out.with_name("m.mp4")), runtime)
    facts = json.loads(part.note(out).read_text())
    part.note(out).write_text(json.dumps({**facts, "headers": "00"}))
    with pytest.raises(WriteError, match="another encoder"):
        run(Job(source, out, resume=True), runtime)
    part.note(out).unlink()
    with pytest.raises(WriteError, match=r"cannot be continued without .*job\.json"):
        run(Job(source, out, resume=True), runtime)
    assert all(path.read_bytes() == data for path, data in before.items() if path != part.note(out))


def test_a_fault_while_continuing_leaves_the_part(clip, fake):
    source, out = _cut_off(clip)
    with pytest.raises(RuntimeError, match="the network broke"):
        run(Job(source, out, resume=True), fake(broken=3))
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4.job.json", "out.part.mp4"]


def test_stopping_before_anything_new_leaves_the_part(clip, runtime):
    class Stop:
        def is_set(self):
            return True

    source, out = _cut_off(clip)
    with pytest.raises(Interrupted):
        run(Job(source, out, resume=True), runtime, stop=Stop())
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4.job.json", "out.part.mp4"]


def test_a_part_is_not_lost_by_forgetting_resume(clip):
    source, out = _cut_off(clip)
    process = start(source, out)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said == f"derain-video: {out.with_name('out.part.mp4')}: is left of a run that was cut off; --resume continues it, -y begins anew\n"
    assert start(source, out, "-y").wait() == 0
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4"]


def test_without_anything_to_continue_it_begins_anew(clip, runtime, look):
    source = clip()
    report = run(Job(source, source.with_name("out.mp4"), resume=True), runtime)
    assert report.frames == 20 == len(look(source.with_name("out.mp4")).pictures)


@pytest.mark.parametrize(
    "times, count",
    [
        (list(range(40)), 24),
        ([0, 4, 2, 1, 3] + [n + k for n in range(4, 60, 4) for k in (4, 2, 1, 3)], 45),
        (list(range(16)), 0),
        ([], 0),
    ],
)
def test_only_pictures_without_a_gap_are_kept(times, count):
    assert part.whole(times) == count


def test_a_full_disk_keeps_nothing_that_could_not_be_continued(clip):
    source = clip(times=[i * 512 for i in range(300)], sound=True)
    out, mask = source.with_name("out.mp4"), source.with_name("mask.mp4")
    process = start(source, out, "--mask", mask, pause=0, room=60_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said == f"derain-video: {out}: no room left on the disk; free some, and begin anew\n"
    assert os.listdir(source.parent) == [source.name]


def test_what_is_left_beside_a_mask_begins_anew(clip):
    source = clip(times=[i * 512 for i in range(300)])
    out = source.with_name("out.mp4")
    kill_after(60, source, out, "--mask", source.with_name("mask.mp4"))
    _, said = start(source, out).communicate(timeout=60)
    assert said == f"derain-video: {out.with_name('out.part.mp4')}: is left of a run that was cut off; -y begins anew\n"
