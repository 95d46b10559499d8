import pytest
import torch
from torch import Tensor
from torch.nn import functional

from derain_video.models.colour import recoloured

SHARE = 0.4


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Luma and chroma of a scene whose colour changes slowly, and a mask of streaks, three of ten columns, all at the size of chroma."""
    down, across = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
    colour = torch.stack([0.1 + 0.05 * down, -0.15 + 0.05 * across])[None]
    y = (0.4 + 0.2 * down * across)[None, None]
    mask = (torch.arange(96) % 10 < 3).float().expand(1, 1, 64, 96)
    return y, colour, mask


def smoothed(mask: Tensor) -> Tensor:
    return functional.avg_pool2d(mask, 3, 1, 1)


def test_colour_that_light_displaced_comes_back() -> None:
    y, colour, mask = scene()
    covered = SHARE * smoothed(mask)
    rainy, washed = y + covered * (1 - y), colour * (1 - covered)
    found = washed + recoloured(rainy, y - rainy, mask, washed)
    seen = mask.expand_as(colour) > 0
    before, after = ((each - colour)[seen].abs().mean() for each in (washed, found))
    assert after < before / 5


@pytest.mark.parametrize("share", [0.2, SHARE])
def test_light_that_was_only_added_leaves_colour_alone(share: float) -> None:
    y, colour, mask = scene()
    rainy = y + share * smoothed(mask) * (1 - y)
    assert recoloured(rainy, y - rainy, mask, colour).abs().max() < 0.5 / 255


def test_each_region_is_measured_for_itself() -> None:
    y, colour, mask = (torch.cat([plane] * 4, -1) for plane in scene())
    covered = SHARE * smoothed(mask)
    rainy, washed = y + covered * (1 - y), colour.clone()
    washed[..., :192] *= (1 - covered)[..., :192]
    found = recoloured(rainy, y - rainy, mask, washed)
    assert (washed + found - colour)[..., 8:96].abs().mean() < (washed - colour)[..., 8:96].abs().mean() / 2
    assert found[..., 288:].abs().max() < 0.5 / 255


def test_nothing_changes_outside_the_mask_or_where_the_picture_grows_brighter() -> None:
    y, colour, mask = scene()
    assert not recoloured(y + 0.1 * mask, -0.1 * mask, mask, colour)[mask.expand_as(colour) == 0].any()
    assert not recoloured(y, 0.1 * mask, mask, colour).any()


def test_a_white_pixel_and_a_gray_picture_are_no_fault() -> None:
    y, colour, mask = scene()
    white, gray = torch.ones_like(y), torch.zeros_like(colour)
    assert recoloured(white, -0.5 * mask, mask, colour).isfinite().all()
    assert not recoloured(white, -0.5 * mask, mask, gray).any()
