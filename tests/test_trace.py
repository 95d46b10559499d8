import json
from pathlib import Path

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
    assert sorted(names.values()) == ["decode", "derain", "encode", "perceive, align"]
    assert {event["tid"] for event in events} == set(names)


def test_frames_passed_over_keep_their_number(clip, fake, tmp_path):
    times = [i * 12800 for i in range(8)]
    scene = {"scene": lambda i: 60 * (i % 4 < 2)}
    events = traced(lambda: clip(times=times, **scene), fake(["clear", "heavy", "clear", "heavy"]), tmp_path)
    numbers = [event["args"]["frame"] for event in events if event["name"] == "derain"]
    assert numbers and 0 not in numbers and numbers == sorted(numbers)
