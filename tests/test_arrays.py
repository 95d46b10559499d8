import numpy as np
import pytest

from derain_video.pipeline.arrays import Derainer, derain


def pictures(count: int, shape=(64, 96, 3), dtype=np.uint8):
    rng = np.random.default_rng(1)
    base = rng.integers(60, 180, shape).astype(dtype)
    return [base + np.asarray(i, dtype) for i in range(count)]


@pytest.mark.parametrize("shape", [(64, 96, 3), (63, 95, 3), (64, 96)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_picture(runtime, shape, dtype):
    (picture,) = pictures(1, shape, dtype)
    kept = picture.copy()
    with Derainer(runtime) as derainer:
        clean = derainer(picture)
    assert clean.shape == shape and clean.dtype == dtype
    assert np.array_equal(clean[:, 48:], picture[:, 48:]) and (clean[:, :48] != picture[:, :48]).any()
    assert np.array_equal(picture, kept)
    assert not runtime.closed  # it is the caller's


def test_a_film_uses_its_neighbours(runtime):
    out = list(derain(pictures(6), runtime))
    assert len(out) == 6
    assert len(np.unique(runtime.states[3][0, :, 60, 90])) == 4


def test_a_dry_picture_comes_back_itself(fake):
    (picture,) = pictures(1)
    with Derainer(fake(["clear"])) as derainer:
        assert np.shares_memory(derainer(picture), picture)


@pytest.mark.parametrize("shape", [(64, 96, 3), (64, 96)])
def test_the_other_byte_order(fake, shape):
    film = pictures(4, shape, np.uint16)
    with Derainer(fake()) as derainer:
        wanted = list(derainer.film(film))
        clean = list(derainer.film([film[0].astype(">u2"), film[1].astype("<u2"), *(picture.astype(">u2") for picture in film[2:])]))
    assert np.array_equal(clean, wanted) and all(picture.dtype == np.uint16 and picture.dtype.isnative for picture in clean)


@pytest.mark.parametrize("other", [pictures(1, (60, 96, 3)), pictures(1, dtype=np.uint16), pictures(1, (64, 96))])
def test_a_film_is_of_one_kind(runtime, other):
    with pytest.raises(ValueError, match="begin a film of its own"):
        list(derain([*pictures(2), *other], runtime))


@pytest.mark.parametrize("around", [{"before": -1}, {"after": -1}])
def test_fewer_neighbours_than_none(runtime, around):
    with pytest.raises(ValueError, match="give 0 or more"):
        next(Derainer(runtime).film(pictures(2), **around))


@pytest.mark.parametrize("rate", [0, -1, 1e-9, float("nan"), float("inf")])
def test_no_rate(runtime, rate):
    with pytest.raises(ValueError, match=r"give 0.001 frames/s or more"):
        Derainer(runtime, rate=rate)


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 96), np.uint8), np.zeros((64, 96), np.float32), np.zeros((64, 96, 4), np.uint8), np.zeros(64, np.uint8)]
)
def test_no_picture(runtime, bad):
    with pytest.raises(ValueError, match="give \\(H, W, 3\\)"):
        Derainer(runtime)(bad)


@pytest.mark.parametrize("bad", [[[0, 0]], None])
def test_no_array(runtime, bad):
    with pytest.raises(ValueError, match="is no picture: give an array"):
        Derainer(runtime)(bad)


@pytest.mark.parametrize("options, said", [({"pattern": "hail"}, "'hail' is not known"), ({"model": "quality"}, "an open runtime has its own")])
def test_options_that_are_not_offered(runtime, options, said):
    with pytest.raises(ValueError, match=said):
        Derainer(runtime, **options)
