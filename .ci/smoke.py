"""After `derain-video IN OUT` in an environment without torch: same frames and times, same sound, another picture."""

import importlib.util
import sys

import av
import numpy as np


def read(path: str) -> tuple[list[float], list[bytes], np.ndarray]:
    with av.open(path) as box:
        sound = [bytes(packet) for packet in box.demux(audio=0) if packet.size]
    with av.open(path) as box:
        frames = [(frame.time, frame.to_ndarray()) for frame in box.decode(video=0)]
    return [time for time, _ in frames], sound, np.stack([planes for _, planes in frames])


def main(rainy: str, clean: str) -> None:
    assert importlib.util.find_spec("torch") is None, "the core install brought torch"
    times, sound, before = read(rainy)
    new_times, new_sound, after = read(clean)
    assert new_times == times, "time stamps differ"
    assert new_sound == sound, "sound packets differ"
    change = np.abs(after.astype(np.int16) - before)
    assert after.shape == before.shape and change.max() >= 16, "no rain was taken out"
    print(f"{len(times)} frames kept, {len(sound)} sound packets identical, {np.mean(change >= 16):.2%} of samples changed by 16 or more")


if __name__ == "__main__":
    main(*sys.argv[1:])
