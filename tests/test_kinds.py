"""The validation rain: it falls where it should, the same each time, and owes nothing to the training renderer."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from derain_video.benchmarks import kinds, metrics, streaks
from derain_video.benchmarks.footage import Clip, FootageError

RAIN = [kind for kind in (*kinds.KINDS, *kinds.EXTREMES) if not kind.dry]
DRY = [kind for kind in kinds.KINDS if kind.dry]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Four grey frames of 192 x 128 with a bright lamp on the left."""
    y = np.full((4, 128, 192), 90, np.uint8)
    y[:, 40:60, 20:40] = 225
    uv = np.full((4, 2, 64, 96), 120, np.uint8)
    return Clip("lamp", y, uv, camera="static")


@pytest.mark.parametrize("kind", RAIN, ids=lambda k: k.name)
def test_rain_brightens_and_is_reproducible(kind: kinds.Kind, clip: Clip) -> None:
    seen, truth = kinds.render(kind, clip)
    again, _ = kinds.render(kind, clip)
    assert np.array_equal(seen.y, again.y) and np.array_equal(seen.uv, again.uv)
    assert seen.y.shape == clip.y.shape and seen.uv.shape == clip.uv.shape
    assert seen.y.mean() > truth.y.mean()
    low, high = (8, 14) if kind in kinds.EXTREMES else (14, 42)
    assert low < metrics.psnr(seen.y, truth.y) < high


@pytest.mark.parametrize("kind", RAIN, ids=lambda k: k.name)
def test_rain_is_another_in_the_next_frame(kind: kinds.Kind, clip: Clip) -> None:
    seen, truth = kinds.render(kind, clip)
    rain = seen.y.astype(np.float64) - truth.y
    alike = np.corrcoef(rain[0, :, 60:].ravel(), rain[1, :, 60:].ravel())[0, 1]
    assert alike < (0.9 if kind.veil else 0.5)


@pytest.mark.parametrize("kind", DRY, ids=lambda k: k.name)
def test_dry_weather_is_its_own_truth(kind: kinds.Kind, clip: Clip) -> None:
    seen, truth = kinds.render(kind, clip)
    assert np.array_equal(seen.y, truth.y) and np.array_equal(seen.uv, truth.uv)


def test_night_rain_shines_near_the_lamp(clip: Clip) -> None:
    unlit = clip.with_planes(np.full_like(clip.y, 90), clip.uv)
    (lit, lit_truth), (dark, dark_truth) = (kinds.render(kinds.named("night"), each) for each in (clip, unlit))
    with_lamp, without = lit.y.astype(np.float64) - lit_truth.y, dark.y.astype(np.float64) - dark_truth.y
    assert with_lamp[:, :, 42:62].mean() > 1.5 * without[:, :, 42:62].mean()
    assert with_lamp[:, :, 160:].mean() == pytest.approx(without[:, :, 160:].mean(), rel=0.1)


def test_another_clip_gets_other_rain(clip: Clip) -> None:
    other = Clip("other", clip.y, clip.uv, camera="static")
    first, second = (kinds.render(kinds.named("depths"), each)[0] for each in (clip, other))
    assert not np.array_equal(first.y, second.y)


def test_streaks_lean_as_told() -> None:
    """The direction of the brightness gradient (structure tensor) of streaks that lean 20 degrees to the right at the foot."""
    sheet = streaks.texture(streaks.Layer(300, 90, 2.0, 0.9, scatter=0.1), 20, 256, 1.0, seed=3)
    down, right = np.gradient(sheet.astype(np.float64))
    angle = 0.5 * np.arctan2(2 * (down * right).sum(), (right**2 - down**2).sum())
    assert -np.rad2deg(angle) == pytest.approx(20, abs=2)


def test_textures_wrap_around() -> None:
    sheet = streaks.texture(streaks.Layer(3000, 40, 1.5, 0.9), 0, 256, 1.0, seed=1)
    inside = np.abs(np.diff(sheet, axis=0)).mean()
    assert np.abs(sheet[0] - sheet[-1]).mean() < 1.5 * inside


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(FootageError, match="kind 'hail' is not known; choose from drizzle"):
        kinds.named("hail")


def test_extremes_are_measured_only_where_they_are_named() -> None:
    extreme = [kind.name for kind in kinds.EXTREMES]
    assert kinds.chosen(None) == list(kinds.KINDS)
    assert [kind.name for kind in kinds.chosen(extreme)] == extreme


def test_nothing_is_shared_with_the_training_renderer() -> None:
    for module in (kinds, streaks):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        origins = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [origin for origin in origins if "models" in origin]
