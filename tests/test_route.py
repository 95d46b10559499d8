"""The router with a perceiver that says what it is told, over pictures of our own."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from derain_video.models import spec
from derain_video.pipeline.errors import OptionError
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.report import Report
from derain_video.pipeline.route import Cuts, Fades, Routing, route, signature


def frames(count: int, scene=lambda i: 0, move: int = 0, bits: int = 8):
    x, y = np.meshgrid(np.arange(320), np.arange(180))
    for i in range(count):
        seed = scene(i)
        base = 110 + 50 * np.sin((x + move * i) / (9 + 7 * seed)) + (30 + 40 * seed) * np.cos(y / (11 + 13 * seed))
        base = (base.clip(0, 255) * (((1 << bits) - 1) / 255)).astype(np.uint8 if bits == 8 else np.uint16)
        yield Frame((base,), LAYOUTS["gray" if bits == 8 else f"gray{bits}le"], i, Fraction(1, 25), 1)


def routed(runtime, pictures, **options):
    report = Report()
    return list(route(iter(pictures), runtime, report, **options)), report


@pytest.mark.parametrize("pattern, looked", [("clear", [0, 50, 100, 150, 200, 250, 300, 350]), ("heavy", [0, 50, 150, 350])])
def test_a_still_scene_is_perceived_again_when_the_answer_is_old_in_rain_more_and_more_seldom(fake, pattern, looked):
    perceiver, seen = fake([pattern]), []
    for i, frame in enumerate(route(frames(400), perceiver, report := Report())):
        assert frame.pattern == pattern and frame.cut == (not i)
        seen.append(perceiver.looks)
    assert [i for i, (before, now) in enumerate(zip([0, *seen], seen, strict=False)) if now > before] == looked
    assert (report.misses, report.hits) == (len(looked), 400 - len(looked))


def test_fine_detail_that_comes_up_is_perceived(runtime):
    noise = np.random.default_rng(0).integers(-15, 16, (180, 320))
    pictures = [f.replace(planes=((f.planes[0] + noise * (i >= 15)).clip(0, 255).astype(np.uint8),)) for i, f in enumerate(frames(30))]
    out, report = routed(runtime, pictures)
    assert report.misses == 2 and not report.cuts and not out[15].cut


def darkened(step: int, most: int):
    """By `step` a frame in the mean, up to `most`; each quarter of the picture in its turn: that is no fade."""
    for i, frame in enumerate(frames(40)):
        turns = np.bincount(np.arange(min(i, most // step)) % 4, minlength=4)
        yield frame.replace(planes=(frame.planes[0] - np.repeat(4 * step * turns, 80).astype(np.uint8),))


@pytest.mark.parametrize("step, most, looks", [(1, 7, 1), (1, 12, 2), (2, 18, 2), (2, 22, 2)])
def test_a_changed_scene_is_perceived_without_a_cut(runtime, step, most, looks):
    _, report = routed(runtime, darkened(step, most))
    assert report.misses == looks and not report.cuts


def test_a_scene_that_changes_is_looked_at_when_it_has_come_to_rest(runtime):
    seen = [runtime.looks for _ in route(darkened(2, 18), runtime, Report())]
    assert seen[9] == 1 and seen[14] == 2  # 18 code values away at 9, at rest soon after


def test_a_cut_counts_at_once(fake):
    out, report = routed(fake(["heavy", "clear"]), frames(40, scene=lambda i: i // 20))
    assert [frame.pattern for frame in out] == ["heavy"] * 20 + ["clear"] * 20
    assert [i for i, frame in enumerate(out) if frame.cut] == [0, 20]
    assert (report.cuts, report.switches) == (1, 1)


def test_another_pattern_must_lead_for_a_time(fake):
    limits = Routing(oldest=0.2, wait=0.5)
    out, report = routed(fake(["heavy", "light"]), frames(50), limits=limits)
    changed = [frame.pattern for frame in out].index("light")
    assert changed == 5 + 13  # seen at 0.2 s, and for half a second from then on
    assert report.switches == 1


class Looker:
    """Says heavy of dark pictures and light of bright ones, in the place of a network."""

    looks = 0

    def perceive(self, views):
        self.looks += 1
        return np.array([0.0, 0.9, 0.1, 0.0] if views[-1].mean() > 130 else [0.0, 0.1, 0.9, 0.0], np.float32)


def faded(count, begin, length):
    """A scene that fades into a brighter, finer one."""
    for one, two in zip(frames(count), frames(count, scene=lambda i: 1), strict=True):
        share = min(1.0, max(0.0, (one.pts - begin) / length))
        finer = (two.planes[0] // 2 + 90) ^ (np.indices((180, 320)).sum(0) % 2 * 8).astype(np.uint8)
        yield one.replace(planes=((one.planes[0] * (1 - share) + finer * share).astype(np.uint8),))


@pytest.mark.parametrize("begin", [20, 47])
def test_in_a_fade_decisions_are_those_of_looking_at_every_frame(begin):
    ours, every = Looker(), Looker()
    out, report = routed(ours, faded(125, begin, 12))
    looked, _ = routed(every, faded(125, begin, 12), limits=Routing(oldest=0))
    assert sum(one.pattern != other.pattern for one, other in zip(out, looked, strict=True)) <= 1, "99 % of 125"
    assert report.switches == 1 and not report.cuts
    assert every.looks == 125 and ours.looks < 40


@pytest.mark.parametrize("wave", [lambda t: np.sin(2 * np.pi * t), lambda t: max(0, np.sin(4 * np.pi * t))], ids=["lamp", "beacon"])
def test_light_that_comes_and_goes_is_no_fade_for_long(wave):
    side = np.linspace(1, 0, 320)[None] * 40
    fades, still = Fades(Routing()), next(frames(1)).planes[0] * 0.7
    found = [fades.at(signature((still + 20 + side * wave(i / 25)).astype(np.uint8), 255), i / 25, not i) for i in range(125)]
    assert any(found[:25]) and not any(found[40:])


@pytest.mark.parametrize("zoom, shift, faded", [(0.0, 0.0, True), (0.0, 3.0, False), (0.01, 0.0, False)])
def test_a_fade_counts_at_once_and_a_camera_that_moves_is_none(zoom, shift, faded):
    """The later scene alone, or under a camera that moves on, or a blend of both scenes that goes on as fast."""
    first, second = (next(frames(1, scene=lambda i, n=n: n)).planes[0] for n in (0, 1))
    fades, found = Fades(Routing()), []
    for i in range(20):
        picture = cv2.addWeighted(first, 1 - i / 20, second, i / 20, 0) if faded else second
        view = np.float32([[1 + zoom * i, 0, shift * i], [0, 1 + zoom * i, 0]])
        found.append(fades.at(signature(cv2.warpAffine(picture, view, (320, 180), borderMode=cv2.BORDER_REFLECT), 255), i / 25, not i))
    assert found == [False] * 4 + [faded] * 16


class Told:
    """Says heavy as surely as it is told, look after look, and at last again and again."""

    def __init__(self, *sure: float) -> None:
        self.sure, self.looks = sure, 0

    def perceive(self, views):
        sure = self.sure[min(self.looks, len(self.sure) - 1)]
        self.looks += 1
        return np.array([0.0, 1 - sure, sure, 0.0], np.float32)


def looks_of(seen: Told) -> list[int]:
    """After each of 100 frames."""
    return [seen.looks for _ in route(frames(100), seen, Report())]


def test_while_close_scores_change_every_frame_is_looked_at():
    looks = looks_of(Told(0.66, 0.45, 0.57))
    assert (looks[49], looks[50]) == (1, 2)  # the answer was two seconds old
    assert looks[51] == looks[99] == 3  # another such change brings 0.57 nowhere near



def test_scores_that_change_while_one_leads_by_far_are_left_alone():
    assert looks_of(Told(0.99, 0.8, 0.95))[50:] == [2] * 50


def test_a_camera_that_moves_on_and_on_is_looked_at_more_and_more_seldom():
    ours = Looker()
    x = np.arange(320)
    pictures = [f.replace(planes=(np.tile((60 + 40 * np.sin(x / 40 + i / 5)).astype(np.uint8), (180, 1)),)) for i, f in enumerate(frames(125))]
    looks = []
    for i, frame in enumerate(route(iter(pictures), ours, Report())):
        assert frame.pattern == "heavy" and frame.cut == (not i)
        looks.append(ours.looks)
    assert looks[24] >= 4 and looks[124] - looks[74] <= 4  # in the first second, and in the last two


def test_a_flicker_does_not_switch(fake):
    limits = Routing(oldest=0.2, wait=0.5)
    out, report = routed(fake(["heavy", "light", "heavy", "clear", "heavy", "light"] + ["heavy"] * 20), frames(60), limits=limits)
    assert {frame.pattern for frame in out} == {"heavy"} and not report.switches


def test_rain_that_begins_counts_as_one_rival_whatever_its_pattern(fake):
    out, report = routed(fake(["clear"] + ["heavy", "downpour"] * 20), frames(40), limits=Routing(oldest=0, wait=0.4))
    assert [frame.pattern == "clear" for frame in out] == [True] * 11 + [False] * 29  # seen in frame 1, and for 0.4 s from then on
    assert report.switches == 1


def test_a_pan_is_no_cut():
    cuts = Cuts(Routing())
    found = [cuts.at(signature(frame.planes[0], 255)) for frame in frames(40, move=10)]
    assert found == [True] + [False] * 39


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_shots_of_a_few_frames_are_shots(length):
    rng, cuts = np.random.default_rng(3), Cuts(Routing())
    scenes = [cv2.resize(rng.integers(60, 180, (6, 8), np.uint8), (160, 96), interpolation=cv2.INTER_CUBIC) for _ in range(8)]
    found = [cuts.at(signature(np.roll(scenes[i // length], i, 1), 255)) for i in range(8 * length)]
    assert found == [i % length == 0 for i in range(8 * length)]


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_signature_does_not_depend_on_depth(bits):
    deep, plain = (signature(next(iter(frames(1, bits=b))).planes[0], (1 << b) - 1) for b in (bits, 8))
    assert deep.distance(plain) < 1 and abs(deep.energy - plain.energy) < 0.1


def test_a_fixed_pattern_needs_no_look(runtime):
    out, report = routed(runtime, frames(40, scene=lambda i: i // 20), pattern="light")
    assert {frame.pattern for frame in out} == {"light"} and not runtime.looks and not report.misses
    assert [i for i, frame in enumerate(out) if frame.cut] == [0, 20]


def test_an_unknown_pattern_is_refused(runtime):
    with pytest.raises(OptionError, match=r"hail.*light, heavy, downpour"):
        routed(runtime, frames(1), pattern="hail")


@pytest.mark.parametrize(
    "scores, pattern",
    [
        ([0.58, 0.42, 0.0, 0.0], "clear"),
        ([0.56, 0.11, 0.13, 0.20], "downpour"),
        ([0.43, 0.35, 0.13, 0.09], "light"),
        ([0.4, 0.1, 0.2, 0.3], "downpour"),
        ([0.0, 0.1, 0.6, 0.3], "heavy"),
    ],
)
def test_clear_must_be_surely_likelier_than_all_rain_together(scores, pattern):
    assert spec.routed(scores) == pattern
