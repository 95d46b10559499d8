"""Training on paired public sets, made small: samples, shelves by pattern, a run of each sort, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain_video.models.align import Seen
from derain_video.models.perception import blank
from derain_video.models.spec import PATTERNS
from derain_video.models.store import load, save
from derain_video.models.train import paired
from derain_video.models.train.__main__ import main
from derain_video.models.train.data import SIDE
from derain_video.models.train.paired import Paired, Shelves, Spot, planes, sample, shares, shelves
from derain_video.models.train.pairs import PairError, find
from derain_video.pipeline.arrays import frame_of
from derain_video.pipeline.chroma import split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two stills, one of them smaller than a sample, and a clip of four frames; rain adds 40 to every eighth column."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, side in (("stills/{}/1.png", 300), ("stills/{}/2.png", 101), *((f"film/{{}}/a/{t}.png", 280) for t in range(4))):
        clean = cv2.GaussianBlur(rng.integers(0, 200, (side, side, 3)).astype(np.float32), (0, 0), 3).astype(np.uint8)
        rainy = clean.copy()
        rainy[:, ::8] += 40
        for part, picture in (("input", rainy), ("target", clean)):
            path = root / name.format(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP that was never trained: it sends everything somewhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save(path, blank().state_dict(), {})
    return path


def spots(root: Path, group: str) -> list[Spot]:
    (found,) = (s for s in find(root) if s.name == group)
    return [Spot(pair, k) for pair in found.pairs for k in range(len(pair.rainy))]


def test_planes_are_those_of_the_pipeline() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    y, uv = planes(rgb)
    wanted_y, wanted_uv = split(frame_of(rgb))
    assert np.array_equal(y, wanted_y) and np.array_equal(uv, wanted_uv)


def test_a_still_is_a_window_of_one(root: Path) -> None:
    made = sample(torch.Generator().manual_seed(0), spots(root, "stills")[0], "light")
    assert made.y.shape == (1, SIDE, SIDE) and made.uv.shape == (2, SIDE // 2, SIDE // 2)
    assert torch.equal(made.near, made.y.expand(4, -1, -1)) and made.pattern == 1
    rain = made.y[0].int() - made.clean_y[0].int()
    assert set(rain.unique().tolist()) <= {0, 39, 40, 41}
    assert torch.equal(made.mask[0] == 255, rain > 3) and 0.1 < float((rain > 3).float().mean()) < 0.15


def test_a_small_picture_is_filled_up(root: Path) -> None:
    made = sample(torch.Generator().manual_seed(0), spots(root, "stills")[1], "heavy")
    assert made.y.shape == (1, SIDE, SIDE) and torch.equal(made.clean_y[0, 101:], made.clean_y[0, 100:101].expand(SIDE - 101, -1))


def test_a_frame_of_a_clip_has_its_neighbours(root: Path) -> None:
    made = sample(torch.Generator().manual_seed(0), spots(root, "film")[2], "heavy")
    near = made.near.int()
    assert not torch.equal(made.near, made.y.expand(4, -1, -1))
    assert bool((near[1:] >= near[:-1]).all())


def test_motion_is_looked_at_as_in_the_whole_picture(root: Path) -> None:
    seen = []

    def see(luma: np.ndarray, lines: int) -> Seen:
        seen.append((luma.shape, lines))
        return Seen(luma, lines=lines)

    sample(torch.Generator().manual_seed(0), spots(root, "film")[2], "heavy", see)
    assert set(seen) == {((SIDE, SIDE), 280)}


def test_shelves_follow_perception_and_clips_stay_together(root: Path) -> None:
    looks = iter([1, 2, 1])

    def perceive(views: torch.Tensor) -> torch.Tensor:
        assert views.dtype == torch.uint8 and views.shape[1:] == (3, 224, 224)
        return torch.eye(len(PATTERNS))[next(looks)]

    found = shelves(root, perceive)
    assert {pattern: len(shelf) for pattern, shelf in found.items()} == {"clear": 0, "light": 5, "heavy": 1, "downpour": 0}
    assert shares(found, "generalist", {}) == {"clear": 0, "light": 5, "heavy": 1, "downpour": 0}
    assert shares(found, "light", {"clear": 0.06, "light": 0.82, "heavy": 0.06}) == {"light": 0.82, "heavy": 0.06}
    with pytest.raises(ValueError, match=r"--pattern downpour: perception sends no frame there .*light 5, heavy 1"):
        shares(found, "downpour", {"downpour": 1.0})


def test_the_source_draws_by_shares(root: Path) -> None:
    frames = spots(root, "film")
    shelf: Shelves = {"clear": [], "light": frames[:2], "heavy": frames[2:], "downpour": []}
    source = Paired(shelf, {"light": 0.9, "heavy": 0.1})(0)
    drawn = [next(source).pattern for _ in range(20)]
    assert set(drawn) <= {1, 2} and drawn.count(1) > 10


def test_generalist_and_specialist_from_pairs(
    root: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "routed", lambda scores: "light")  # the CLIP has learnt nothing
    given = ["--pairs", str(root), "--clip-pretrained", str(checkpoint), "--minutes", "0.03", "--weights", str(tmp_path / "weights")]
    given += ["--runs", str(tmp_path / "runs"), "--batch", "2", "--threads", "1", "--device", "cpu"]
    assert main(["generalist", *given]) == 0
    (words,) = (line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines() if ": clear " in line)
    counts = {part.split()[0]: int(part.split()[1]) for part in words.split(", ")}
    assert counts["light"] == 6
    assert main(["specialist", *given, "--pattern", "light"]) == 0
    for name in ("generalist", "light"):
        assert int(load(tmp_path / "weights" / f"fast_{name}.safetensors")[1]["steps"]) > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["generalist"], "give folders of clean clips and stills, or --pairs ROOT"),
        (["generalist", "{root}", "--pairs", "{root}"], "give folders of clean clips and stills, or --pairs ROOT"),
        (["clip", "--pairs", "{root}"], "pairs train generalist and specialist; clip needs folders"),
        (["generalist", "--pairs", "{root}/nowhere"], "nowhere: no such folder"),
        (["generalist", "--pairs", "{root}", "--clip", "CLAP", "--clip-pretrained", "x"], "--clip CLAP: open_clip has no such model"),
        (["generalist", "--pairs", "{root}", "--clip", "ViT-B-32"], "--clip ViT-B-32: give its --clip-pretrained"),
        (["generalist", "--pairs", "{root}", "--clip", "ViT-S-32", "--clip-pretrained", "mine"], "--clip-pretrained mine: "),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(
    given: list[str], said: str, root: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [] if "--clip" in given else ["--clip-pretrained", str(checkpoint)]
    assert main([part.replace("{root}", str(root)) for part in given] + small) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_pairs_too_small_to_train_on_are_named(tmp_path: Path) -> None:
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "1.png"), np.zeros((8, 40, 3), np.uint8))
    (group,) = find(tmp_path)
    for act in (lambda: shelves(tmp_path, lambda _: torch.zeros(4)), lambda: sample(torch.Generator(), Spot(group.pairs[0], 0), "light")):
        with pytest.raises(PairError, match=r"1\.png: it has 40x8 pixels, less than 32 a side; take the pair out"):
            act()


def test_a_broken_picture_in_training_is_one_line(root: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sets"
    for part in ("input", "target"):
        (folder / part / "a").mkdir(parents=True)
        for t in range(3):
            data = (root / "film" / part / "a" / f"{t}.png").read_bytes()
            (folder / part / "a" / f"{t}.png").write_bytes(data if t == 1 else b"torn")
    given = ["generalist", "--pairs", str(folder), "--clip-pretrained", str(checkpoint), "--minutes", "0.03", "--device", "cpu"]
    assert main([*given, "--weights", str(tmp_path), "--runs", str(tmp_path)]) == 2
    assert "not a picture that OpenCV reads" in capsys.readouterr().err.splitlines()[-1]
