import numpy as np
import pytest
import torch

from derain_video.export.runtime.base import Clean
from derain_video.models.spec import FAST, QUALITY, NetSpec
from derain_video.models.subnet import DerainNet, Mirrored, PlaneNet
from derain_video.pipeline import tiles


def drawn(spec: NetSpec) -> DerainNet:
    net = DerainNet(spec)
    with torch.no_grad():
        net.head.weight.normal_(std=0.1)
        net.head.bias[20:24] = 0.0
        net.attention.out.weight.normal_(std=0.3)
    return net


class Drawn:
    """A runtime whose network has drawn weights: every path through it matters. It keeps the shapes that it was given."""

    name, model, precision, device = "drawn", "fast", "fp32", "cpu"

    def __init__(self, spec: NetSpec, mirrored: bool = False) -> None:
        torch.manual_seed(1)
        net = drawn(spec)
        self.net, self.shapes = PlaneNet(Mirrored(net) if mirrored else net), []

    def derain(self, pattern: str, y: np.ndarray, uv: np.ndarray, near: np.ndarray, peak: int, model: str = "") -> Clean:
        self.shapes.append(y.shape[2:])
        with torch.inference_mode():
            found = self.net(*map(torch.from_numpy, (y, uv, near)), torch.tensor([float(peak)]))
        return Clean(*(tensor.numpy() for tensor in found))


def planes(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(2)
    y = draw.integers(0, 256, (1, 1, height, width), np.uint8)
    near = np.clip(y + draw.integers(-40, 40, (1, 4, height, width)), 0, 255).astype(np.uint8)
    return y, draw.integers(0, 256, (1, 2, height // 2, width // 2), np.uint8), near


def step(a: Clean, b: Clean) -> int:
    """Largest difference in code values."""
    return max(int(np.abs(getattr(a, name).astype(int) - getattr(b, name)).max()) for name in ("y", "uv", "mask"))


@pytest.mark.parametrize(
    "spec, mirrored, size, budget, count",
    [
        (FAST, False, (384, 640), 400 * 400, 3),
        (FAST, False, (488, 456), 424 * 392, 4),
        (FAST, True, (40, 648), 1, 3),
        (QUALITY, True, (128, 456), 1, 2),
    ],
)
def test_seams_do_not_show(spec, mirrored, size, budget, count):
    runtime, given = Drawn(spec, mirrored), planes(*size)
    whole = runtime.derain("heavy", *given, 255)
    assert np.abs(whole.y.astype(int) - given[0]).mean() > 5
    tiled = tiles.derain(runtime, "heavy", *given, 255, budget)
    assert len(runtime.shapes) == 1 + count and len(set(runtime.shapes[1:])) == 1
    assert step(tiled, whole) <= 1


def test_without_its_margin_a_seam_would_show(monkeypatch):
    monkeypatch.setattr(tiles, "MARGIN", 0)
    runtime, given = Drawn(FAST), planes(384, 640)
    assert step(tiles.derain(runtime, "heavy", *given, 255, 400 * 400), runtime.derain("heavy", *given, 255)) > 1


@pytest.mark.parametrize("budget", [1, 300_000, 2_000_000, 5 << 19])
@pytest.mark.parametrize("height, width", [(8, 64), (448, 640), (2160, 3840), (4320, 7688), (64, 16384)])
def test_tiles_cover_the_frame_once_with_room_around_each(height, width, budget):
    covered = np.zeros((height // 8, width // 8), int)
    for down, across in tiles.tiles(height, width, budget):
        covered[down.first // 8 : down.last // 8, across.first // 8 : across.last // 8] += 1
        for part, side in ((down, height), (across, width)):
            assert not any(edge % 64 for edge in (part.begin, part.first, side - part.end)) and part.first < part.last
            assert part.last % 64 == 0 or part.last == side
            assert part.begin == 0 or part.first - part.begin >= tiles.MARGIN
            assert part.end == side or part.end - part.last >= tiles.MARGIN
        if budget >= 300_000:
            assert (down.end - down.begin) * (across.end - across.begin) <= budget
    assert (covered == 1).all()


def test_4k_takes_four_tiles_on_a_processor_and_1080p_one():
    assert len(list(tiles.tiles(2160, 3840, tiles.BUDGET["cpu"]))) == 4
    assert len(list(tiles.tiles(1080, 1920, tiles.BUDGET["cpu"]))) == 1
    assert len(list(tiles.tiles(2160, 3840, tiles.BUDGET["cuda"]))) == 1


def test_a_frame_that_fits_is_handed_on_as_it_is(runtime):
    y, uv, near = planes(128, 192)
    tiles.derain(runtime, "light", y, uv, near, 255)
    assert runtime.calls == [("light", (1, 1, 128, 192), np.dtype(np.uint8), 255)]
    assert runtime.states[0] is near
