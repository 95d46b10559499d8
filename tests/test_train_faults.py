"""What derain-train refuses in one line: other runs' checkpoints, places that cannot be written, options that do nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain_video.models import store
from derain_video.models.perception import ClipError, perceiver
from derain_video.models.store import WEIGHTS, WeightsError, known_as
from derain_video.models.train import ablation, cli, clip, loop
from derain_video.models.train.__main__ import main
from derain_video.models.train.feed import Feed

RECIPE = loop.Recipe("fast_generalist", 1, seed=3, batch=2)


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A folder with one still."""
    folder = tmp_path / "clean"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    return folder


def kept(training: loop.Training | clip.Training, path: Path) -> Path:
    if isinstance(training, clip.Training):
        training.keep(path)
    else:
        torch.save(training.state(), path)
    return path


@pytest.mark.parametrize(
    ("other", "source", "said"),
    [
        ({"steps": 9, "minutes": 5}, "a", ""),  # a run may be lengthened
        ({"seed": 4}, "a", "seed 3, not 4"),
        ({"batch": 4}, "a", "batch 2, not 4"),
        ({"shares": {"light": 1.0}}, "a", "shares {.*}, not {'light': 1.0}"),
        ({"start": WEIGHTS / "fast_heavy.safetensors"}, "a", "start none, not weights/fast_heavy.safetensors"),
        ({}, "b", "source a, not b"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_taken_up(other: dict[str, object], source: str, said: str, tmp_path: Path) -> None:
    path = kept(loop.Training(RECIPE, "cpu", source="a"), tmp_path / "x.pt")
    training = loop.Training(replace(RECIPE, **other), "cpu", source=source)  # type: ignore[arg-type]
    if not said:
        return training.resume(path)
    with pytest.raises(WeightsError, match=f"x.pt: is of a run with {said}; give the same, or another --runs"):
        training.resume(path)


def test_the_clips_checkpoint_of_another_run_is_not_taken_up(tmp_path: Path) -> None:
    path = kept(clip.Training(1, 3), tmp_path / "x.pt")
    clip.Training(9, 3).resume(path)
    with pytest.raises(WeightsError, match="is of a run with seed 3, not 4"):
        clip.Training(1, 4).resume(path)


def test_an_older_checkpoint_is_taken_up(tmp_path: Path) -> None:
    training = loop.Training(RECIPE, "cpu")
    for asked in ({"asked": {"loss": "dls", "attention": "masked"}}, {}):
        torch.save({name: value for name, value in training.state().items() if name != "asked"} | asked, tmp_path / "x.pt")
        training.resume(tmp_path / "x.pt")


@pytest.mark.parametrize("held", [b"text", [1], {}, {"net": 1}, {"net": {}, "asked": 5}])
def test_what_is_no_checkpoint_is_named(held: object, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(held) if isinstance(held, bytes) else torch.save(held, path)
    for training in (loop.Training(RECIPE, "cpu"), clip.Training(1, 1)):
        with pytest.raises(WeightsError, match=r"x\.pt: is no checkpoint of this run; remove it"):
            training.resume(path)


def test_places_are_known_by_their_last_two_names() -> None:
    assert known_as(Path("/a/b/c")) == "b/c" != known_as(Path("/a/d/c"))


@pytest.mark.parametrize("fault", [RuntimeError("PytorchStreamWriter failed"), OSError(28, "No space left on device")])
def test_what_cannot_be_written_is_named_and_leaves_nothing(fault: Exception, tmp_path: Path) -> None:
    said = r"a\.pt: cannot be written: (Pytorch|No space).*; free some room"
    with pytest.raises(OSError, match=said) as caught, store.drafted(tmp_path / "a.pt") as draft:
        draft.write_bytes(b"half")
        raise fault
    assert not list(tmp_path.iterdir()) and "\n" not in str(caught.value)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"file/a\.safetensors: cannot be written"):
        store.save(tmp_path / "file" / "a.safetensors", {"a": torch.zeros(1)}, {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["clip", "--steps", "3"], "--steps 3: of the sub-networks"),
        (["generalist", "--weights", "{}/a.png/w"], "--weights {}/a.png/w: {}/a.png is no folder that can be written in"),
        (["generalist", "--runs", "{}/a.png"], "--runs {}/a.png: {}/a.png is no folder that can be written in"),
        (["specialist", "--pattern", "light", "--pattern", "still", "--weights", "{}"], "fast_generalist.safetensors: no weights there"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    given: list[str], said: str, footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(footage)
    monkeypatch.setattr(loop, "run", None)
    assert main([given[0], str(footage), *(part.format(footage) for part in given[1:])]) == 2
    error = capsys.readouterr().err
    assert said.replace("{}", str(footage)) in error and error.count("\n") == 1 and [path.name for path in footage.iterdir()] == ["a.png"]


def test_a_folder_of_weights_has_a_name_that_torch_takes() -> None:
    with pytest.raises(OSError, match="--weights w\udce9: its name is no UTF-8"):
        cli._check_place("--weights", Path("w\udce9"))


def test_a_clip_that_is_not_known_needs_no_tag() -> None:
    with pytest.raises(ClipError, match="--clip nope: open_clip has no such model"):
        perceiver("nope")


def test_another_teacher_is_another_run(tmp_path: Path) -> None:
    place = loop.Place([], tmp_path, tmp_path)
    trials = [replace(RECIPE, teacher=teacher) for teacher in (None, *(WEIGHTS / f"quality_{name}.safetensors" for name in ("generalist", "still")))]
    assert len({ablation._result(trial, place) for trial in trials}) == 3


@pytest.mark.parametrize("text", ["x", "[]", "{}", json.dumps({"figures": {"clear": 1}})])
def test_a_damaged_result_of_an_ablation_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "fast_generalist_3.json").write_text(text)
    with pytest.raises(WeightsError, match=r"fast_generalist_3\.json: is no result of an ablation; remove it"):
        ablation._row(RECIPE, loop.Place([], tmp_path, tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_for_the_trainer_alone() -> None:
    with Feed(itertools.count, 5) as feed:
        os.kill(feed.processes[0].pid or 0, signal.SIGINT)  # while it starts
        assert feed.get() == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
