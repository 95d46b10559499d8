"""Derains a video with the graphs beside this file. Needs numpy, onnxruntime and av; sound is left out.

Neighbouring frames are not aligned here: the four frames before a frame, sorted, are its state, as a fixed camera has it. With --moving
each frame is derained alone, many times slower. The full program aligns neighbours from both sides, and so cleans better.
"""

import argparse
from collections import deque
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Planes = NDArray[np.uint8]
PATTERNS = ("clear", "light", "heavy", "downpour")
HERE, SIDE, MANY, EVERY, DRY = Path(__file__).parent, 224, 540, 30, 0.57  # the pattern is perceived anew every EVERY frames


@cache
def session(names: tuple[str, ...], precision: str) -> onnxruntime.InferenceSession:
    """Of the first of `names` that has a graph here."""
    wanted = [f"{name}{'' if precision == 'fp32' else '_' + precision}.onnx" for name in names]
    path = next((path for name in wanted for path in HERE.glob(name)), None)
    if path is None:
        raise ValueError(f"{HERE / wanted[0]}: no such graph; fill this folder anew with derain-export edge")
    usable = [name for name in onnxruntime.get_available_providers() if name.startswith(("CUDA", "CPU"))]
    return onnxruntime.InferenceSession(str(path), providers=usable)


def pattern(frame: av.VideoFrame, precision: str) -> str:
    """Perceives two views (2, 3, 224, 224) RGB, the middle of the frame and the whole; of many lines, the same at half the size and so on."""
    found: list[NDArray[np.float32]] = []
    height, width = frame.height, frame.width
    while not found or min(height, width) >= MANY // 2:
        rgb: Planes = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
        top, left = (max(0, size - SIDE) // 2 for size in rgb.shape[:2])
        crop = rgb[top : top + SIDE, left : left + SIDE]
        crop = np.pad(crop, ((0, SIDE - crop.shape[0]), (0, SIDE - crop.shape[1]), (0, 0)), mode="edge")
        whole: Planes = np.asarray(frame.to_ndarray(format="rgb24", width=SIDE, height=SIDE), np.uint8)
        views = np.ascontiguousarray(np.stack([crop, whole]).transpose(0, 3, 1, 2))
        found.append(session(("perception",), precision).run(None, {"views": views})[0])
        height, width = height // 2, width // 2
    scores = min(found, key=lambda each: float(each[0]))
    return "clear" if scores[0] > DRY else PATTERNS[1 + int(scores[1:].argmax())]


def padded(planes: Planes, unit: int) -> Planes:
    down, right = (-size % unit for size in planes.shape[1:])
    return np.pad(planes, ((0, 0), (0, down), (0, right)), mode="edge")[None]


def derain(packed: Planes, before: "deque[Planes]", precision: str) -> Planes:
    """One 4:2:0 frame, packed as (3H/2, W), by the network of the past, or that of stills if it has no state."""
    height, width = packed.shape[0] * 2 // 3, packed.shape[1]
    y, uv = packed[None, :height], packed[height:].reshape(2, height // 2, width // 2)
    state = np.sort(np.stack([*before, *[y[0]] * 4][:4]), axis=0)
    feed = {"y": padded(y, 8), "uv": padded(uv, 4), "near": padded(state, 8), "peak": np.array([255], np.float32)}
    y, uv, _ = session(("*_past_u8", "*_generalist_u8") if before else ("*_still_u8",), precision).run(None, feed)
    return np.concatenate([y[0, 0, :height, :width], uv[0, :, : height // 2, : width // 2].reshape(-1, width)])


def run(source: av.container.InputContainer, sink: av.container.OutputContainer, precision: str, moving: bool) -> None:
    if not source.streams.video:
        raise ValueError(f"{source.name}: there is no video in it")
    stream, rate = source.streams.video[0], source.streams.video[0].average_rate or 25
    out, tick = sink.add_stream("libx264", rate=rate, options={"crf": "18"}), stream.time_base or Fraction(1, 90000)
    out.codec_context.time_base = tick
    out.width, out.height, out.pix_fmt = stream.width // 2 * 2, stream.height // 2 * 2, "yuv420p"
    before, size = deque[Planes](maxlen=4), (stream.width, stream.height)
    for number, frame in enumerate(source.decode(stream)):
        if (frame.width, frame.height) != size:
            raise ValueError(f"{source.name}: frame {number} has another size; cut the video there")
        if number % EVERY == 0:
            name = pattern(frame, precision)
        packed: Planes = np.asarray(frame.to_ndarray(format="yuv420p", width=out.width, height=out.height), np.uint8)
        clean = packed if name == "clear" else derain(packed, before, precision)
        before.extendleft([] if moving else [packed[: out.height]])
        done = av.VideoFrame.from_ndarray(clean, format="yuv420p")
        done.pts, done.time_base = round(number / rate / tick) if frame.pts is None else frame.pts, tick
        sink.mux(out.encode(done))
    sink.mux(out.encode(None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32")
    parser.add_argument("--moving", action="store_true", help="the camera moves: derain each frame alone, many times slower")
    args = parser.parse_args()
    draft = (clean := Path(args.output)).with_name(f"{clean.stem}.draft{clean.suffix}")
    if clean.resolve() == Path(args.input).resolve():
        parser.exit(2, f"{args.output}: is the input; give the output a name of its own\n")
    try:
        with av.open(args.input) as video, av.open(str(draft), "w") as clean_video:
            run(video, clean_video, args.precision, args.moving)
        draft.replace(clean)
    except Exception as error:  # of onnxruntime too, whose errors have no class in common
        parser.exit(2, f"{(str(error) or repr(error)).splitlines()[0]}\n")
    finally:
        draft.unlink(missing_ok=True)
