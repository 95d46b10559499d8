"""Recordings joined end to end, whose clock begins anew at each joint."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from derain_video.pipeline.joints import Joints
from derain_video.pipeline.report import Report
from derain_video.pipeline.run import Job, run


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("sound", [True, False], ids=["sound", "silent"])
def test_what_follows_a_joint_goes_on_from_there(clip, fake, look, tmp_path, ending, sound):
    one, other = clip("one.ts", sound=sound), clip("other.ts", sound=sound, scene=lambda number: 20)
    joined, report = tmp_path / "joined.ts", Report()
    joined.write_bytes(one.read_bytes() + other.read_bytes() + one.read_bytes())
    run(Job(joined, tmp_path / f"out.{ending}"), fake(["clear"]), report)
    alone, seen = look(one), look(tmp_path / f"out.{ending}")
    steps = np.diff([float(time) for time in seen.times])
    assert len(seen.times) == 60 and steps.min() > 0.02 and steps.max() < 0.06
    assert f"{joined}: 3 recordings in one, each with a clock of its own: they follow each other now" in report.notes
    if sound:
        (_, packets), (_, each) = seen.packets[0], alone.packets[0]
        times = [time for _, time in packets]
        assert len(packets) == 3 * len(each) and max(np.diff(times)) < 0.03 and abs(times[-1] - float(seen.times[-1])) < 0.1


def test_subtitles_in_any_order_are_no_joint():
    joints = Joints()
    for kind, dts, moved in (("subtitle", 5000, 5000), ("video", 0, 0), ("subtitle", 1000, 1000), ("video", 2000, 2000), ("video", 0, 2040)):
        packet = SimpleNamespace(stream=SimpleNamespace(type=kind), stream_index=kind, dts=dts, pts=dts, time_base=Fraction(1, 1000))
        joints.mend(packet, Fraction(51, 25))
        assert packet.pts == packet.dts == moved
