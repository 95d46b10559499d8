from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from derain_video.models.align import Seen, near
from derain_video.models.blocks import Refine
from derain_video.models.mgca import MaskGuidedCrossAttention
from derain_video.models.planes import crop, pad
from derain_video.models.spec import ATTENTIONS, FAST, NEIGHBOURS, QUALITY, NetSpec
from derain_video.models.subnet import DerainNet, Mirrored, PlaneNet
from derain_video.models.train.ablation import SHAPES

TINY = NetSpec("tiny", widths=(8, 8, 16), depths=(0, 1, 1))


def planes(dtype: torch.dtype, peak: int, side: int = 64) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    shapes = ((1, 1, side, side), (1, 2, side // 2, side // 2), (1, NEIGHBOURS, side, side))
    return tuple(torch.randint(0, peak + 1, shape, generator=g).to(dtype) for shape in shapes)


@pytest.mark.parametrize(("spec", "most"), [(FAST, 10_000), (QUALITY, 150_000), *((shape, 10_000) for shape in SHAPES.values())])
def test_cost_per_pixel(spec: NetSpec, most: int) -> None:
    side = 128
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        DerainNet(spec)(torch.empty(1, 1, side, side), torch.empty(1, 2, side // 2, side // 2), torch.empty(1, NEIGHBOURS, side, side))
    assert counter.get_total_flops() / 2 / side**2 <= most


def test_a_branch_is_a_convolution_beside_the_other() -> None:
    torch.manual_seed(0)
    block, x = Refine(8, "branched"), torch.randn(2, 8, 9, 9)
    kernel, point = (block.get_parameter(f"conv.parametrizations.weight.{name}") for name in ("original", "0.weight"))
    both = functional.conv2d(x.relu(), kernel, padding=1) + functional.conv2d(x.relu(), point)
    assert torch.allclose(block(x), x + both, atol=1e-5) and point.abs().max() > 0.1


@pytest.mark.parametrize(("dtype", "peak"), [(torch.uint8, 255), (torch.uint16, 1023)])
def test_output_equals_input_where_the_mask_is_zero(dtype: torch.dtype, peak: int) -> None:
    torch.manual_seed(0)
    net = DerainNet(TINY)
    net.head.bias.data[-4:] = -3.0  # sigmoid just below the floor: noise decides which pixels open
    net.head.weight.data *= 30
    y, uv, others = planes(dtype, peak)
    with torch.no_grad():
        clean, _, mask = PlaneNet(net)(y, uv, others, torch.tensor([float(peak)]))
    shut = mask == 0
    assert 0.05 < shut.float().mean() < 0.95
    assert torch.equal(clean[shut].int(), y[shut].int())
    assert not torch.equal(clean[~shut].int(), y[~shut].int())
    assert clean.dtype == dtype and int(clean.int().max()) <= peak


def test_shut_mask_leaves_all_planes_alone() -> None:
    net = DerainNet(TINY)
    net.head.weight.data.zero_()
    net.head.bias.data[-4:] = -20.0
    y, uv, others = planes(torch.uint8, 255)
    clean_y, clean_uv, mask = PlaneNet(net)(y, uv, others, torch.tensor([255.0]))
    assert not mask.any()
    assert torch.equal(clean_y, y) and torch.equal(clean_uv, uv)


def test_first_output_is_the_middle_of_the_neighbours_under_an_open_mask() -> None:
    net = DerainNet(TINY)
    net.head.weight.data.zero_()
    net.head.bias.data[-4:] = 20.0
    y, uv, _ = planes(torch.uint8, 255)
    others = torch.arange(0, 80, 20, dtype=torch.uint8)[None, :, None, None].expand(1, NEIGHBOURS, 64, 64)
    clean, _, _ = PlaneNet(net)(y, uv, others, torch.tensor([255.0]))
    assert torch.equal(clean, torch.full_like(clean, 30))


def test_a_mirrored_network_sees_both_ways_alike() -> None:
    torch.manual_seed(0)
    net = Mirrored(DerainNet(TINY))
    frame = torch.rand(1, 1, 64, 128), torch.rand(1, 2, 32, 64), torch.zeros(1, NEIGHBOURS, 64, 128)
    with torch.no_grad():
        one, other = net(*frame), net(*(plane.flip(-1) for plane in frame))
        alone = net.net(*frame)
    for plane, mirror, single in zip((one.y, one.half, one.mask), (other.y, other.half, other.mask), (alone.y, alone.half, alone.mask), strict=True):
        assert torch.allclose(plane, mirror.flip(-1), atol=1e-6) and not torch.allclose(plane, single, atol=1e-6)


def test_masks_come_at_every_scale() -> None:
    found = DerainNet(TINY)(torch.rand(2, 1, 64, 128), torch.rand(2, 2, 32, 64), torch.zeros(2, NEIGHBOURS, 64, 128))
    assert [tuple(logit.shape) for logit in found.logits] == [(2, 1, 64, 128), (2, 1, 16, 32), (2, 1, 8, 16)]


def test_attention_draws_on_background_of_its_own_window_only() -> None:
    torch.manual_seed(0)
    attention = MaskGuidedCrossAttention(8, window=4)
    torch.nn.init.normal_(attention.out.weight)
    x, mask = torch.randn(1, 8, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 0, 0] = 1.0
    before = attention(x, mask)
    assert torch.equal(before[..., 4:, 4:], x[..., 4:, 4:])  # nothing is drawn where nothing is rainy
    changed = x.clone()
    changed[..., 1, 1] += 1.0
    changed[..., 6, 6] += 1.0
    after = attention(changed, mask)
    assert not torch.allclose(before[..., 0, 0], after[..., 0, 0])
    far = x.clone()
    far[..., 6, 6] += 1.0
    assert torch.allclose(before[..., 0, 0], attention(far, mask)[..., 0, 0])


def test_attention_draws_nothing_from_beyond_the_picture() -> None:
    torch.manual_seed(0)
    attention = MaskGuidedCrossAttention(8, window=4)
    torch.nn.init.normal_(attention.out.weight)
    for part in (attention.key, attention.value):
        torch.nn.init.zeros_(part.bias)
    x, mask = torch.randn(1, 8, 6, 7), torch.rand(1, 1, 6, 7)
    wider, rain = functional.pad(x, (0, 1, 0, 2)), functional.pad(mask, (0, 1, 0, 2), value=1.0)
    assert torch.allclose(attention(x, mask), attention(wider, rain)[..., :6, :7], atol=1e-6)
    assert not torch.allclose(attention(x, mask), attention(wider, functional.pad(mask, (0, 1, 0, 2)))[..., :6, :7], atol=1e-3)


def test_padding_is_undone() -> None:
    luma = np.arange(37 * 51, dtype=np.uint16).reshape(37, 51)
    chroma = np.ones((2, 19, 26), np.uint16)
    y, uv, others = pad(luma, chroma, near([Seen(luma, 1023)], 0))
    assert y.shape == (1, 1, 40, 56) and uv.shape == (1, 2, 20, 28) and others.shape == (1, 4, 40, 56)
    assert np.array_equal(crop(y, 37, 51)[0], luma)
    assert np.array_equal(crop(uv, 19, 26), chroma)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_mask_guides_masked_attention_alone(attention: str) -> None:
    torch.manual_seed(0)
    net = DerainNet(replace(TINY, attention=attention))
    torch.nn.init.normal_(net.attention.out.weight)
    eighth = torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        shut, half = (net._attend(eighth, torch.full((1, 1, 8, 8), value)) for value in (0.0, 0.5))
    assert torch.equal(shut, eighth) is (attention != "plain")
    assert torch.equal(shut, half) is (attention != "masked")
