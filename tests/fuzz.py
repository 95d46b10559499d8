"""Damaged files, the same ones each time: `python tests/fuzz.py --count 2000`.

Clips of our own are mutated (bits flipped, cut off, pieces swapped, zeroed or repeated) and given to the command in a process that stays.
Each must end within 10 s with exit code 0 or 2 and no traceback; prints the counts, and exits with 1 if one did not, naming its number.
"""

from __future__ import annotations

import argparse
import random
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import Clip, FakeRuntime, write_clip

from derain_video.pipeline import cli

SECONDS = 10
"""How long one file may take."""

CLIPS = {
    "a.mp4": Clip(sound=True, chapters=True),
    "b.mkv": Clip(sound=True, subtitles=True),
    "c.ts": Clip(sound=True),
    "d.mov": Clip(codec="libx265", times=[i * 700 for i in range(12)]),
    "e.webm": Clip(codec="libvpx-vp9", times=[i * 512 for i in range(12)]),
    "f.avi": Clip(codec="mpeg4"),
}


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 30, 300))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_head(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 10))):
        data[chance.randrange(min(400, len(data)))] = chance.randrange(256)


def flip_tail(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 10))):
        data[-1 - chance.randrange(min(2500, len(data)))] = chance.randrange(256)


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def swap(data: bytearray, chance: random.Random) -> None:
    size = chance.randrange(1, len(data) // 4)
    a, b = chance.randrange(len(data) - size), chance.randrange(len(data) - size)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def blank(data: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(data))
    size = min(chance.randrange(1, 3000), len(data) - begin)
    data[begin : begin + size] = bytes(size)


def repeat(data: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(data))
    data[begin:begin] = data[begin : begin + chance.randrange(1, 3000)]


def lose(data: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(data))
    del data[begin : begin + chance.randrange(1, 3000)]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, flip_head, flip_tail, truncate, swap, blank, repeat, lose)


def mutated(clips: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """Ending and content of the file of this number."""
    chance = random.Random(number)
    name = sorted(clips)[number % len(clips)]
    data = bytearray(clips[name])
    MUTATIONS[number // len(clips) % len(MUTATIONS)](data, chance)
    return Path(name).suffix, bytes(data)


class Worker:
    """The process that runs the command on one file after another."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)

    def run(self, source: Path, target: Path) -> str:
        """The exit code; `hang`, `died` or an exception's name if there is none."""
        self.process.stdin.write(f"{source}\t{target}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.process.kill()
            return "hang"
        return self.process.stdout.readline().strip() or "died"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def work() -> None:
    cli.load = lambda *a, **k: FakeRuntime()
    answers = sys.stdout
    sys.stdout = sys.stderr
    for told in sys.stdin:
        source, target = told.rstrip("\n").split("\t")
        try:
            answer = str(cli.main([source, target, "-y", "-q"]))
        except BaseException as fault:  # whatever it is, it is what is looked for
            answer = type(fault).__name__
        print(answer, file=answers, flush=True)


def fuzz(first: int, count: int, folder: Path) -> dict[int, str]:
    """Outcome of each number."""
    clips = {name: write_clip(folder / name, clip).read_bytes() for name, clip in CLIPS.items()}
    outcomes, worker = {}, Worker()
    try:
        for number in range(first, first + count):
            ending, data = mutated(clips, number)
            source = folder / f"mutated{ending}"
            source.write_bytes(data)
            outcomes[number] = worker.run(source, folder / "out.mkv")
            if outcomes[number] in ("hang", "died"):
                worker.close()
                worker = Worker()
    finally:
        worker.close()
    return outcomes


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--count", type=int, default=2000)
    p.add_argument("--first", type=int, default=0, help="number to begin with")
    p.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if args.worker:
        work()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(args.first, args.count, Path(folder))
    wrong = {number: outcome for number, outcome in outcomes.items() if outcome not in ("0", "2")}
    print(dict(Counter(outcomes.values())), "wrong:", wrong)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
