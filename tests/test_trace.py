import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_video.benchmarks import lanes
from derain_video.benchmarks.cli import main as bench
from derain_video.pipeline.report import STAGES, Report
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.trace import Trace


def traced(clip, runtime, tmp_path: Path) -> list[dict]:
    report = Report(trace=Trace())
    run(Job(clip(), tmp_path / "out.mp4"), runtime, report)
    report.trace.save(tmp_path / "trace.json")
    return json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_every_stage_tells_of_every_frame_and_adds_up(clip, runtime, tmp_path):
    events = [event for event in traced(clip, runtime, tmp_path) if event["ph"] == "X"]
    for stage in STAGES:
        numbers = [event["args"]["frame"] for event in events if event["name"] == stage]
        assert numbers[:20] == list(range(20)) and len(numbers) <= 21, stage  # decode looks once more, and finds the end
    assert min(event["ts"] for event in events) == 0 and all(event["dur"] >= 0 for event in events)


def test_a_frame_goes_from_stage_to_stage(clip, runtime, tmp_path):
    begin = {(event["name"], event["args"]["frame"]): event["ts"] for event in traced(clip, runtime, tmp_path) if event["ph"] == "X"}
    for number in range(20):
        times = [begin[stage, number] for stage in STAGES]
        assert times == sorted(times)


def test_threads_are_named_by_what_they_do(clip, runtime, tmp_path):
    events = traced(clip, runtime, tmp_path)
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert set(names.values()) == {"decode", "perceive", "align", "derain", "encode"}
    assert {event["tid"] for event in events} == set(names)


def test_frames_passed_over_keep_their_number(clip, fake, tmp_path):
    times = [i * 12800 for i in range(8)]
    scene = {"scene": lambda i: 60 * (i % 4 < 2)}
    events = traced(lambda: clip(times=times, **scene), fake(["clear", "heavy", "clear", "heavy"]), tmp_path)
    numbers = [event["args"]["frame"] for event in events if event["name"] == "derain"]
    assert numbers and 0 not in numbers and numbers == sorted(numbers)


def test_a_trace_is_drawn(clip, runtime, tmp_path, capsys):
    traced(clip, runtime, tmp_path)
    assert bench(["trace", str(tmp_path / "trace.json"), str(tmp_path / "trace.png"), "--start", "0", "--span", "60"]) == 0
    shares = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(shares) == set(STAGES)
    picture = cv2.imread(str(tmp_path / "trace.png"))
    assert picture.shape[1] == lanes.LEFT + lanes.WIDTH + lanes.RIGHT and len(np.unique(picture.reshape(-1, 3), axis=0)) > 4


FOREIGN = '{"traceEvents": [{"ph": "X", "ts": 2e6, "dur": 9e5, "tid": 1, "name": "a", "args": {}}]}'


@pytest.mark.parametrize("text", ["no trace", "[]", '{"traceEvents": []}', '{"traceEvents": [{"ph": "X"}]}', FOREIGN, "[" * 9999])
def test_what_is_no_trace_is_one_line(text, tmp_path, capsys):
    (tmp_path / "trace.json").write_text(text)
    assert bench(["trace", str(tmp_path / "trace.json"), str(tmp_path / "trace.png")]) == 2
    said = capsys.readouterr().err
    assert "trace.json" in said and said.count("\n") == 1 and not (tmp_path / "trace.png").exists()
