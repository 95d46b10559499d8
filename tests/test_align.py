import gc
import weakref
from itertools import permutations

import cv2
import numpy as np
import pytest

from derain_video.benchmarks.footage import Clip
from derain_video.benchmarks.kinds import named, render
from derain_video.models.align import BAND, COARSE, FINE, Look, Seen, Sight, darker, near
from derain_video.models.spec import AROUND, NEIGHBOURS


def scene(height: int = 160, width: int = 240) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def test_still_scene_comes_back_sorted_and_exact() -> None:
    frames = [np.full((64, 64), level, np.uint8) for level in (50, 10, 30, 40, 20)]
    state = near([Seen(frame) for frame in frames], 2)
    assert state.shape == (4, 64, 64)
    assert [int(plane[5, 5]) for plane in state] == [10, 20, 40, 50]


def test_a_still_is_its_own_neighbour() -> None:
    frame = scene()
    assert all(np.array_equal(plane, frame) for plane in near([Seen(frame)], 0))


def test_moving_camera_is_followed() -> None:
    wide = scene(200, 300)
    frames = [np.ascontiguousarray(wide[2 * k : 2 * k + 160, 3 * k : 3 * k + 240]) for k in range(5)]
    state = near([Seen(frame) for frame in frames], 2).astype(int)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    aligned = np.abs(state - frames[2])[inner].mean()
    unaligned = np.mean([np.abs(frame.astype(int) - frames[2])[16:-16, 16:-16].mean() for k, frame in enumerate(frames) if k != 2])
    assert aligned < 0.2 * unaligned


def test_ten_bits_keep_their_depth() -> None:
    frame = scene().astype(np.uint16) * 4 + 3
    state = near([Seen(frame, 1023), Seen(frame, 1023)], 1)
    assert state.dtype == np.uint16
    assert np.array_equal(state[0], frame)


@pytest.mark.parametrize("count", [NEIGHBOURS, AROUND])
def test_every_order_of_neighbours_is_sorted_and_the_middle_kept(count: int) -> None:
    orders = np.array(list(permutations(range(count))), np.uint8).T  # a pixel for each order
    frames = [np.ascontiguousarray(plane[:, None]) for plane in orders]
    half = count // 2
    state = near([*map(Seen, frames[:half]), Seen(frames[0]), *map(Seen, frames[half:])], half)
    least = (count - NEIGHBOURS) // 2
    assert all((plane == least + k).all() for k, plane in enumerate(state))


@pytest.mark.parametrize(
    ("before", "after", "used"),
    [(3, 3, [20, 30, 50, 60]), (3, 2, [20, 30, 50, 60]), (1, 3, [30, 40, 50, 60]), (0, 3, [40, 50, 60, 70]), (6, 0, [0, 10, 20, 30])],
)
def test_far_neighbours_are_used_where_both_sides_have_them(before: int, after: int, used: list[int]) -> None:
    window = [Seen(np.full((32, 32), 40 + 10 * step, np.uint8)) for step in range(-min(before, 4), after + 1)]
    window = [Seen(np.full((32, 32), 200, np.uint8))] * (before - 4) + window
    assert near(window, before)[:, 5, 5].tolist() == used


def test_what_lies_beyond_shows_how_thumbnails_look_without_rain_and_no_more() -> None:
    window = [Seen(np.full((32, 32), 40 + 10 * step, np.uint8)) for step in range(9)]
    assert near(window, 4, 3, 3)[:, 5, 5].tolist() == [60, 70, 90, 100]
    assert [set(seen._dry) for seen in window] == [set()] + [{(True, True)}] * 7 + [set()]
    assert near(window, 4, 1, 0)[:, 5, 5].tolist() == [70, 80, 80, 80]


def test_every_thumbnail_is_derained_once_with_state_from_one_frame_on_each_side() -> None:
    asked: list[tuple[int, list[int]]] = []

    def derain(luma: np.ndarray, state: np.ndarray) -> np.ndarray:
        asked.append((int(luma[5, 5]), state[:, 5, 5].tolist()))
        return luma

    window = [Seen(np.full((32, 32), level, np.uint8), derain=derain) for level in (50, 10, 40)]
    for centre in range(3):
        near(window, centre)
    assert sorted(asked) == [(10, [10, 10, 40, 50]), (40, [10, 40, 40, 40]), (50, [10, 50, 50, 50])]
    asked.clear()
    near([Seen(seen.luma, derain=derain) for seen in window], 2, 2, 0)
    assert sorted(asked) == [(10, [10, 10, 10, 50]), (40, [10, 40, 40, 40]), (50, [50, 50, 50, 50])]
    assert darker(np.full((1, 1), 40, np.uint8), np.array([10, 30, 50, 60], np.uint8)[:, None, None]) == 30


def test_flows_do_not_keep_old_frames_alive() -> None:
    first, second = Seen(scene()), Seen(scene()[::-1].copy())
    near([first, second], 1)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("sight, mistaken", [(COARSE, 0.05), (FINE, 0.15)])
@pytest.mark.parametrize("speed", [0, 4])
def test_rain_is_not_taken_for_motion_and_motion_is_seen_through_rain(speed: int, sight: Sight, mistaken: float) -> None:
    wide = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (192, 340)), (0, 0), 3)
    wide = 40 + 120 * (wide - wide.min()) / np.ptp(wide)
    y = np.stack([wide[:, speed * t : speed * t + 320] for t in range(2)]).astype(np.uint8)
    rainy, _ = render(named("gusts"), Clip("made", y, np.full((2, 2, 96, 160), 128, np.uint8)))
    first, second = (Seen(plane, sight=sight) for plane in rainy.y)
    flow = second.dry(first, None).flow_to(first.dry(None, second))
    moved = 0.0 if flow is None else float((flow[..., 0] > 0.5).mean())
    assert moved > 0.8 if speed else moved < mistaken


@pytest.mark.parametrize("height, width, scale", [(4 * BAND, 240, 2), (BAND + 6, 131, 2), (725, 723, 3), (BAND + 9, 131, 1)])
def test_every_row_comes_from_where_flow_points(height: int, width: int, scale: int) -> None:
    """A whole number of pixels, so that what is expected is exact: past bands, still rows, and edges that fill no thumbnail pixel."""
    there = np.random.default_rng(2).integers(0, 256, (height, width), np.uint8)
    flow = np.zeros((height // scale, width // scale, 2), np.float32)
    moving = len(flow) // 2
    flow[moving:] = (3 / scale, -5 / scale)

    class Told(Look):
        def estimate(self, other: Look, later: bool) -> np.ndarray:
            return flow

    sight = FINE if scale == 1 else COARSE
    state = near([Seen(np.full_like(there, 128), look=Told, sight=sight), Seen(there, look=Told, sight=sight)], 0).astype(int)
    came = state.sum(0) - 3 * 128
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    after = there[(y - 5).clip(0), (x + 3).clip(0, width - 1)]
    assert np.array_equal(came[: scale * (moving - 1)], there[: scale * (moving - 1)])
    assert np.array_equal(came[scale * (moving + 1) :], after[scale * (moving + 1) :])


def test_one_estimate_serves_both_ways() -> None:
    wide = scene(200, 300)
    first, second = (Seen(np.ascontiguousarray(wide[2 * k : 2 * k + 160, 4 * k : 4 * k + 240])) for k in range(2))
    back, on = second.rainy.flow_to(first.rainy), first.rainy.flow_to(second.rainy, later=True)
    assert back is not None and on is not None
    inner = (slice(12, -12), slice(12, -12))
    assert np.abs(back[inner] - (2, 1)).max() < 0.2 and np.abs(on[inner] + (2, 1)).max() < 0.2
