from fractions import Fraction

import numpy as np
import pytest

from derain_video.models.align import Look
from derain_video.models.spec import PAST
from derain_video.pipeline.derain import BEYOND, align, derain, held, thumbnails, windows
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.report import Report

from .conftest import FakeRuntime


def frames(count: int, cuts: tuple[int, ...] = (0,), patterns=lambda i: "heavy", name: str = "yuv420p", size=(60, 90)):
    layout = LAYOUTS[name]
    for i in range(count):
        planes = tuple(np.full(layout.shape(p, *size), 40 + i, layout.dtype) for p in range(layout.planes))
        yield Frame(planes, layout, i, Fraction(1, 25), 1, cut=i in cuts, pattern=patterns(i))


@pytest.mark.parametrize("before, after", [(2, 2), (4, 0), (0, 0), (1, 3)])
@pytest.mark.parametrize("cuts", [(0,), (0, 5), (0, 1, 2, 8)])
def test_windows_hold_neighbours_of_one_shot_and_one_beyond(runtime, before, after, cuts):
    found = [([held.frame.pts for held in window], at) for window, at in windows(frames(9, cuts), runtime, before, after)]
    edges = [*cuts, 9]
    before, after = (count and count + BEYOND for count in (before, after))
    for pts, (window, at) in enumerate(found):
        begin, end = max(e for e in edges if e <= pts), min(e for e in edges if e > pts)
        assert window == list(range(max(begin, pts - before), min(end, pts + after + 1))) and window[at] == pts
    assert len(found) == 9


def test_state_is_what_the_window_holds(runtime):
    list(derain(frames(7), runtime, Report()))
    assert [state[0, :, 0, 0].tolist() for state in runtime.states] == [
        [40, 41, 42, 43], [40, 41, 42, 43], [40, 41, 43, 44], [41, 42, 44, 45], [42, 43, 45, 46], [43, 44, 45, 46], [43, 44, 45, 46]
    ]  # fmt: skip


def test_live_waits_for_nothing(runtime):
    source = frames(6)
    out = derain(source, runtime, Report(), before=4, after=0)
    assert next(out).pts == 0
    assert next(source).pts == 1


def test_clear_frames_are_the_very_frames(runtime):
    given = list(frames(8, patterns=lambda i: "clear" if i % 2 else "light"))
    out = list(derain(iter(given), runtime, report := Report()))
    assert all(out[i] is given[i] for i in range(1, 8, 2))
    assert [call[0] for call in runtime.calls] == ["light"] * 4
    assert report.patterns == {"light": 4, "clear": 4}


def test_keep_hands_the_rainy_frame_on(runtime):
    out = list(derain(frames(3), runtime, Report(), keep=True))
    assert [int(frame.before.planes[0][0, 0]) - int(frame.planes[0][0, 0]) for frame in out] == [8, 8, 8]


@pytest.mark.parametrize(
    "after, by_pattern, networks", [(2, False, ["still", *["heavy"] * 3]), (0, False, ["still", "still", "past", "past"]), (2, True, ["heavy"] * 4)]
)
def test_frames_without_neighbours_or_with_a_past_alone_have_networks_of_their_own(runtime, after, by_pattern, networks):
    out = list(derain(frames(4, cuts=(0, 1)), runtime, report := Report(), after=after, by_pattern=by_pattern))
    assert [call[0] for call in runtime.calls] == networks
    assert report.patterns == {"heavy": 4} and all(frame.pattern == "heavy" for frame in out)


@pytest.mark.parametrize("name, dtype, peak", [("yuv420p", np.uint8, 255), ("yuv444p10le", np.uint16, 1023), ("rgb48le", np.uint16, 65535)])
def test_the_network_sees_padded_planes_of_the_right_depth(runtime, name, dtype, peak):
    (out,) = derain(frames(1, name=name), runtime, Report())
    assert runtime.calls == [("still", (1, 1, 64, 96), np.dtype(dtype), peak)]
    assert out.mask.shape == (60, 90) and out.planes[0].shape[:2] == (60, 90)


@pytest.mark.parametrize("pattern, live, asked", [("heavy", False, ["heavy"]), ("light", True, [PAST]), ("clear", False, [])])
def test_thumbnails_are_derained_gray_by_the_network_of_their_frame(pattern, live, asked):
    runtime = FakeRuntime()
    small, state = np.full((45, 61), 100, np.uint8), np.full((4, 45, 61), 90, np.uint8)
    clean = thumbnails(runtime, pattern, live)(small, state)
    assert [call[0] for call in runtime.calls] == asked and set(runtime.models) <= {"fast"}
    assert clean.shape == small.shape and clean.flags.c_contiguous
    assert (clean[:, :48] == (92 if asked else 100)).all() and (clean[:, 48:] == 100).all()


@pytest.mark.parametrize("model, scale", [("fast", 2), ("quality", 1)])
def test_the_large_size_looks_more_finely(fake, model, scale):
    runtime = fake()
    runtime.model = model
    (frame,) = frames(1)
    assert held(frame, runtime).seen.scale == scale


def test_several_workers_align_as_one_does_and_estimate_no_flow_twice(monkeypatch, runtime):
    estimated = []
    estimate = Look.estimate
    monkeypatch.setattr(Look, "estimate", lambda here, other, later: estimated.append((here, other)) or estimate(here, other, later))
    wide = np.random.default_rng(0).integers(0, 256, (96, 200)).astype(np.uint8).repeat(4, 0).repeat(4, 1)  # moves under a camera that pans
    layout = LAYOUTS["gray"]
    views = [np.ascontiguousarray(wide[:160, 3 * i : 3 * i + 240]) for i in range(20)]
    shot = [Frame((view,), layout, i, Fraction(1, 25), 1, cut=i in (0, 7), pattern="heavy") for i, view in enumerate(views)]
    one, several = ([ready.padded for ready in align(iter(shot), runtime, Report(), workers=workers)] for workers in (1, 6))
    assert all(np.array_equal(a, b) for ours, theirs in zip(one, several, strict=True) for a, b in zip(ours, theirs, strict=True))
    assert len(estimated) == len(set(estimated)) == 2 * 2 * 2 * (6 + 12)  # in each run, in rain and without, both ways between neighbours
