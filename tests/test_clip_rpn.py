"""The composed model on one picture: it finds what the pipeline finds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from derain_video.export.probe import SAMPLE, footage
from derain_video.export.runtime import load
from derain_video.models.clip_rpn import ClipRpn, clip_rpn
from derain_video.models.planes import crop
from derain_video.models.spec import PATTERNS


@pytest.fixture(scope="module")
def model() -> ClipRpn:
    return clip_rpn()


def test_a_picture_is_perceived_and_derained_as_in_the_pipeline(model: ClipRpn) -> None:
    (frame,) = footage(SAMPLE, 1)
    y, uv = frame.y[0, 0], frame.uv[0]
    found = model(y, uv)
    assert found.pattern in PATTERNS[1:] and found.scores.keys() == set(PATTERNS) and sum(found.scores.values()) == pytest.approx(1, abs=1e-4)
    alone = frame.seen_by("still")
    with load("torch", precision="fp32") as runtime:
        wanted = runtime.derain("still", alone.y, alone.uv, alone.near, 255)
    assert np.abs(found.y.astype(int) - crop(wanted.y, *y.shape)[0]).max() <= 1 and (found.y != y).any()


def test_a_pattern_that_is_told_spares_perception(model: ClipRpn, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(views: object) -> None:
        raise AssertionError("it was looked at")

    monkeypatch.setattr(model.perceiver, "forward", seen)
    y, uv = np.full((63, 95), 90, np.uint8), np.full((2, 32, 48), 128, np.uint8)
    found = model(y, uv, "heavy")
    assert (found.pattern, found.scores, found.y.shape, found.uv.shape) == ("heavy", {}, (63, 95), (2, 32, 48))
    dry = model(y, uv, "clear")
    assert dry.y is y and not dry.mask.any()
