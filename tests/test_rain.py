from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain_video.models.align import Plane, Seen
from derain_video.models.spec import NEIGHBOURS, RAINY
from derain_video.models.train import rain, specimen
from derain_video.models.train.camera import compress, h264, shoot
from derain_video.models.train.data import SIDE, make, render
from derain_video.models.train.footage import Scene, load
from derain_video.models.train.preview import sheet
from derain_video.models.train.rain import COVERAGE, TILE, Storms, bank, falls, storm
from derain_video.models.train.specimen import amounts, told


@pytest.fixture(scope="module")
def storms() -> Storms:
    return bank(torch.Generator().manual_seed(3), 10)


@pytest.fixture(scope="module")
def scene() -> Scene:
    noise = np.random.default_rng(0).integers(0, 256, (300, 360)).astype(np.float32)
    y = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 40, 180, cv2.NORM_MINMAX).astype(np.uint8)
    return Scene("noise", y[None], np.full((1, 2, 150, 180), 120, np.uint8))


def test_storms_cover_what_their_pattern_says(storms: Storms) -> None:
    for pattern, shelf in storms.items():
        low, high = COVERAGE[pattern]
        assert shelf
        assert all(0.8 * low <= one.coverage <= 1.1 * high for one in shelf)


def test_a_tile_is_seamless() -> None:
    tile = storm(torch.Generator().manual_seed(5), 0.3).tile.float()
    inside = (tile[:, 1:] - tile[:, :-1]).abs().mean()
    seam = (tile[:, 0] - tile[:, -1]).abs().mean()
    assert seam < 1.5 * inside


def test_rain_is_new_in_every_frame(storms: Storms, scene: Scene) -> None:
    g = torch.Generator().manual_seed(1)
    clip = render(g, scene, storms, "heavy", frames=3)
    assert clip.weather
    a, b = falls(g, clip.weather, 2, TILE, TILE, False)
    both = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
    assert abs(float(both)) < 0.3


@pytest.mark.parametrize("lines, side", [(400, SIDE // 2), (1080, SIDE // 4), (2160, SIDE // 4)])
def test_rain_of_large_pictures_is_looked_at_as_coarsely_as_there(lines: int, side: int, storms: Storms, scene: Scene) -> None:
    sizes = set()

    def derain(luma: Plane, state: Plane) -> Plane:
        sizes.add(luma.shape)
        return luma

    fallen = {pattern: [replace(one, lines=lines) for one in shelf] for pattern, shelf in storms.items()}
    make(torch.Generator().manual_seed(8), scene, fallen, "heavy", partial(Seen, derain=derain))
    assert sizes == {(side, side)}


@pytest.mark.parametrize("pattern", RAINY)
def test_rain_brightens_and_the_caption_names_it(pattern: str, storms: Storms, scene: Scene) -> None:
    clip = render(torch.Generator().manual_seed(2), scene, storms, pattern, frames=2)
    assert clip.weather and clip.weather.pattern == pattern
    assert {"light": "light rain", "heavy": "heavy rain", "downpour": "a downpour"}[pattern] in clip.weather.caption()
    assert float(clip.rainy_y.mean()) > float(clip.clean_y.mean())
    changed = (clip.mask > 0.9).float().mean()
    assert changed < 0.3 if pattern == "light" else changed > 0.05


def test_dry_footage_is_its_own_truth(storms: Storms, scene: Scene) -> None:
    clip = render(torch.Generator().manual_seed(2), scene, storms, "clear", frames=2)
    assert torch.equal(clip.rainy_y, clip.clean_y) and not clip.mask.any() and clip.weather is None


def test_a_sample_has_the_shapes_of_the_contract(storms: Storms, scene: Scene) -> None:
    sample = make(torch.Generator().manual_seed(4), scene, storms, "heavy")
    half = SIDE // 2
    shapes = [tuple(p.shape) for p in (sample.y, sample.uv, sample.near, sample.clean_y, sample.mask)]
    assert shapes == [(1, SIDE, SIDE), (2, half, half), (NEIGHBOURS, SIDE, SIDE), (1, SIDE, SIDE), (1, SIDE, SIDE)]
    assert torch.equal(sample.near.sort(0).values, sample.near)


def test_the_same_seed_renders_the_same(storms: Storms, scene: Scene) -> None:
    first, second = (render(torch.Generator().manual_seed(9), scene, storms, "downpour", frames=2) for _ in range(2))
    assert torch.equal(first.rainy_y, second.rainy_y) and torch.equal(first.rainy_uv, second.rainy_uv)


def test_sensor_noise_is_the_same_in_the_truth() -> None:
    clean = torch.full((2, 64, 64), 0.5)
    for seed in range(8):
        shot_clean, shot_rainy = shoot(torch.Generator().manual_seed(seed), clean, clean)
        assert torch.equal(shot_clean, shot_rainy)


def test_a_streak_ripples_as_it_is_told_and_else_is_smooth() -> None:
    def line(depth: float) -> torch.Tensor:
        place, one = torch.tensor([[100.0], [50.0]]), torch.ones(1)
        return rain._points(place, 200 * one, one, 0 * one, (depth, 20.0))[60:240, 100]

    smooth, rippled = line(0), line(1) / line(0)
    assert (smooth.diff().sign().diff() != 0).sum() <= 2
    assert torch.allclose(rippled[15::20], torch.zeros(9), atol=1e-4) and torch.allclose(rippled[5::20], torch.ones(9), atol=1e-4)


def test_compression_keeps_shape_and_picture() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (3, 64, 1))
    chroma = np.full((3, 2, 32, 32), 128, np.uint8)
    y, uv = h264(ramp, chroma, 18)
    assert y.shape == ramp.shape and uv.shape == chroma.shape
    assert np.abs(y.astype(int) - ramp).mean() < 3
    assert compress(torch.Generator().manual_seed(0), ramp, chroma)[0].shape == ramp.shape


def test_footage_is_read_from_clips_and_stills_and_shown(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (301, 303, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "still.png"), picture)
    (scene,) = load([tmp_path])
    assert scene.y.shape == (1, 300, 302) and scene.uv.shape == (1, 2, 150, 151)
    sheet([scene], tmp_path / "sheet.png", rows=1, kinds=10)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 4 * SIDE


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no clip and no still"):
        load([tmp_path])


@pytest.mark.parametrize(
    "pattern, share, name",
    [("light", 0.0, "clear"), ("light", 0.004, ""), ("light", 0.03, "light"), ("light", 0.08, ""), ("heavy", 0.08, ""), ("heavy", 0.2, "heavy")],
)
def test_a_frame_between_two_patterns_has_no_name(pattern: str, share: float, name: str, storms: Storms, scene: Scene) -> None:
    shot = render(torch.Generator().manual_seed(2), scene, storms, pattern, frames=1)
    assert told(shot, torch.full((8, 8), share)) == name


def test_a_downpour_has_a_veil_that_is_seen(storms: Storms, scene: Scene) -> None:
    g, rain = torch.Generator().manual_seed(2), torch.full((8, 8), 0.3)
    shot = render(g, scene, storms, "downpour", frames=1)
    assert shot.weather
    thick, thin = (replace(shot, weather=replace(shot.weather, transmission=share, airlight=0.95)) for share in (0.4, 0.97))
    assert (told(thick, rain), told(thin, rain)) == ("downpour", "")
    assert amounts(thick, rain)[1] > amounts(thin, rain)[1]


def test_rain_that_does_not_show_is_shown_dry(storms: Storms, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specimen, "DRAWS", 0)
    _, _, name, caption = specimen.plain(torch.Generator().manual_seed(2), scene, storms, "downpour", 64)
    assert name == "clear" and caption in specimen.CLEAR
