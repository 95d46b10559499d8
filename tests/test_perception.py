import numpy as np
import pytest
import torch

from derain_video.models.perception import Perceiver, blank, clip, pattern_embeddings
from derain_video.models.prompts import PROMPTS
from derain_video.models.spec import PATTERNS
from derain_video.models.views import SIDE, look, views


def test_every_pattern_has_prompts() -> None:
    assert tuple(PROMPTS) == PATTERNS
    assert all(len(prompts) >= 3 for prompts in PROMPTS.values())


def test_views_are_native_crops_and_the_whole_frame() -> None:
    y = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    shots = views(y, np.full((2, 240, 320), 128, np.uint8))
    assert shots.shape == (5, 3, SIDE, SIDE) and shots.dtype == np.uint8
    first = shots[0, 1].astype(float)
    top, left = (480 - SIDE) // 2, (640 - SIDE) // 2
    native = (y[top : top + SIDE, left : left + SIDE].astype(float) - 16) * 255 / 219
    assert np.abs(first - native.clip(0, 255)).max() < 2


def test_a_tiny_frame_is_one_crop_and_one_whole() -> None:
    assert views(np.zeros((33, 51), np.uint8), np.zeros((2, 17, 26), np.uint8)).shape[0] == 2


def test_deep_planes_look_like_eight_bits() -> None:
    y = np.random.default_rng(0).integers(0, 256, (240, 240), dtype=np.uint8)
    uv = np.full((2, 120, 120), 128, np.uint8)
    deep = views(y.astype(np.uint16) * 4, uv.astype(np.uint16) * 4, 1023)
    assert np.abs(deep.astype(int) - views(y, uv)).max() <= 4


LOOKS = [((240, 320), [1]), ((538, 900), [1]), ((721, 1201), [1, 2]), ((1440, 1080), [1, 2, 4]), ((2160, 3840), [1, 2, 4, 8])]


@pytest.mark.parametrize("size, looks", LOOKS)
def test_a_frame_of_many_lines_is_looked_at_in_smaller_sizes_too(size: tuple[int, int], looks: list[int]) -> None:
    """The scene is a ramp, so that the step from pixel to pixel tells the size that was looked at."""
    height, width = size
    y = np.tile(np.linspace(16, 235, width).astype(np.float32), (height, 1)).round().astype(np.uint8)
    uv = np.full((2, -(-height // 2), -(-width // 2)), 128, np.uint8)
    steps = []

    def eye(shots: np.ndarray) -> list[float]:
        slope = float(np.ptp(shots[0, 1].astype(float)) * width / 255 / SIDE)
        steps.append(round(slope))
        return [1 / len(steps), 0.0, 0.0, 1 - 1 / len(steps)]

    assert look(eye, y, uv) == [1 / len(looks), 0.0, 0.0, 1 - 1 / len(looks)]
    assert steps == looks
    clearer = iter([0.1 * n, 1 - 0.1 * n, 0.0, 0.0] for n in range(1, 9))
    assert look(lambda _: next(clearer), y, uv)[0] == 0.1


def test_scores_sum_to_one_and_are_the_softmax_of_matching() -> None:
    torch.manual_seed(0)
    model = blank().eval()
    text = pattern_embeddings(model)
    assert torch.allclose(text.norm(dim=-1), torch.ones(len(PATTERNS)))
    shots = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    scores = Perceiver(model, text)(shots)
    assert scores.shape == (len(PATTERNS),)
    assert abs(float(scores.detach().sum()) - 1) < 1e-5


def test_another_model_of_open_clip_perceives_too() -> None:
    model = clip("ViT-S-32", None)
    text = pattern_embeddings(model, "ViT-S-32")
    scores = Perceiver(model, text)(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8))
    assert scores.shape == (len(PATTERNS),)
