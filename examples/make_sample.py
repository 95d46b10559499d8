"""Makes sample.mp4: a camera pans over a still picture while rendered rain falls, and a tone sounds.

    pip install '.[test]' && python examples/make_sample.py examples/sample.mp4

The picture is scikit-image's `rocket`, a photograph by SpaceX that was released into the public domain.
`--dry` leaves the rain out: the truth to compare with. The renderer has changed since: what it makes now is other rain than what ships.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from derain_video.models.train.rain import Weather, compose, falls, haze, storm

WIDTH, HEIGHT, RATE, FRAMES = 512, 288, 25, 88
STORMS = (14, 59)
TONE, SAMPLE_RATE = 330.0, 48000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dry", action="store_true", help="without the rain")
    options = parser.parse_args()
    write(options.out, pan() if options.dry else rained_on(pan()))


def pan() -> Iterator[NDArray[np.uint8]]:
    """The picture as a slowly moving camera sees it: (HEIGHT, WIDTH, 3) RGB, FRAMES times."""
    picture = np.asarray(data.rocket())
    room = np.array([picture.shape[1] - WIDTH, picture.shape[0] - HEIGHT])
    for t in range(FRAMES):
        phase = t / (FRAMES - 1)
        x, y = room * (0.08 + 0.84 * phase, 0.55 + 0.42 * np.sin(2.2 * phase))
        matrix = np.array([[1, 0, x], [0, 1, y]])
        view = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        yield np.asarray(view, np.uint8)


def rained_on(pictures: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Heavy rain of two storms that lean alike. RGB in, (HEIGHT * 3/2, WIDTH) planes out."""
    storms = tuple(storm(torch.Generator().manual_seed(seed), 0.22, 576) for seed in STORMS)
    g = torch.Generator().manual_seed(0)
    rain = Weather("heavy", storms, opacity=0.5, brightness=0.6, additive=False, transmission=0.94, airlight=0.4)
    veil = haze(g, rain, HEIGHT, WIDTH)
    for picture, layer in zip(pictures, falls(g, rain, FRAMES, HEIGHT, WIDTH, False), strict=True):
        y, uv = planes(picture)
        wet_y, wet_uv = compose(rain, layer, veil, y, uv)
        yield torch.cat([wet_y, wet_uv.reshape(-1, WIDTH)]).mul(255).round().byte().numpy()


def planes(picture: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """RGB as y (H, W) and uv (2, H/2, W/2), float32 0..1, video range."""
    packed = av.VideoFrame.from_ndarray(picture, format="rgb24").to_ndarray(format="yuv420p")
    flat = torch.from_numpy(packed.astype(np.float32) / 255)
    return flat[:HEIGHT], flat[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)


def write(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as box:
        video = box.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = box.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=48000)
        for picture in pictures:
            form = "rgb24" if picture.ndim == 3 else "yuv420p"
            box.mux(video.encode(av.VideoFrame.from_ndarray(picture, format=form).reformat(format="yuv420p")))
        box.mux(video.encode(None))
        for block in tone():
            box.mux(sound.encode(block))
        box.mux(sound.encode(None))


def tone() -> Iterator[av.AudioFrame]:
    """A quiet sine as long as the pictures, in blocks of 1024 samples."""
    total = FRAMES * SAMPLE_RATE // RATE
    for start in range(0, total, 1024):
        at = np.arange(start, min(start + 1024, total)) / SAMPLE_RATE
        block = av.AudioFrame.from_ndarray((0.1 * np.sin(2 * np.pi * TONE * at)).astype(np.float32)[None], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield block


if __name__ == "__main__":
    main()
