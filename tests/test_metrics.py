"""The measures against scikit-image and against figures worked out by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from skimage import color, data
from skimage import metrics as reference

from derain_video.benchmarks import metrics


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(data.rocket())[:200, :300]


@pytest.fixture(scope="module")
def noisy(photo: np.ndarray) -> np.ndarray:
    return np.clip(photo + np.random.default_rng(0).normal(0, 12, photo.shape), 0, 255).astype(np.uint8)


def test_luma_is_matlabs(photo: np.ndarray) -> None:
    assert np.abs(metrics.matlab_luma(photo) - color.rgb2ycbcr(photo)[..., 0]).max() < 1e-3
    white, black = np.full((1, 1, 3), 255), np.zeros((1, 1, 3))
    assert (metrics.matlab_luma(white).item(), metrics.matlab_luma(black).item()) == pytest.approx((235.0, 16.0))


def test_psnr_is_scikit_images(photo: np.ndarray, noisy: np.ndarray) -> None:
    a, b = metrics.matlab_luma(photo), metrics.matlab_luma(noisy)
    assert metrics.psnr(a, b) == pytest.approx(reference.peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)


def test_psnr_of_equal_pictures_is_finite() -> None:
    assert metrics.psnr(np.ones((4, 4)), np.ones((4, 4))) == metrics.SAME_DB


def test_psnr_of_one_code_value() -> None:
    assert metrics.psnr(np.zeros((4, 4)), np.ones((4, 4))) == pytest.approx(20 * math.log10(255))


def test_ssim_is_scikit_images(photo: np.ndarray, noisy: np.ndarray) -> None:
    a, b = metrics.matlab_luma(photo), metrics.matlab_luma(noisy)
    wanted = reference.structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert metrics.ssim(a, b) == pytest.approx(wanted, abs=1e-6)


def test_ssim_refuses_a_picture_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11 x 11 pixels, not 20 x 10"):
        metrics.ssim(np.zeros((10, 20)), np.zeros((10, 20)))


def test_temporal_error_sees_flicker_and_not_the_scenes_own_motion() -> None:
    truth = [np.full((8, 8), v, np.uint8) for v in (10, 250)]
    assert metrics.temporal_error(truth[1] - 5, truth[0] - 5, truth[1], truth[0]) == 0
    assert metrics.temporal_error(truth[1] - 7, truth[0], truth[1], truth[0]) == 7


def test_detail_kept_falls_with_blur_and_not_with_rain(photo: np.ndarray) -> None:
    truth = metrics.matlab_luma(photo)
    rain = np.random.default_rng(1).normal(0, 4, truth.shape)
    assert metrics.detail_kept(truth, truth) == pytest.approx(1.0)
    assert metrics.detail_kept(truth + rain, truth) == pytest.approx(1.0, abs=0.05)
    assert metrics.detail_kept(cv2.GaussianBlur(truth, (0, 0), 1.5), truth) < 0.7
