"""Two processes that torchrun starts train as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain_video.models.store import load
from derain_video.models.train import ranks
from derain_video.models.train.__main__ import main

WATCHED = """
import sys
from pathlib import Path
import torch
from derain_video.models.train import loop, ranks
from derain_video.models.train.__main__ import main

spend, save = loop.spend, loop.save

def watched(training, *rest):
    begun = training.step
    spend(training, *rest)
    torch.save({"begun": begun, "step": training.step, "picture": training.picture.state(), **training.net.state_dict()}, out / f"{ranks.rank()}.pt")

def counted(*given):
    with (out / "saved").open("a") as file:
        file.write(f"{ranks.rank()}\\n")
    save(*given)

if __name__ == "__main__":
    out = Path(sys.argv.pop(1))
    loop.spend, loop.save = watched, counted
    raise SystemExit(main())
"""


def torchrun(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(script.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)


def test_ranks_end_as_one_network_and_go_on(tmp_path: Path) -> None:
    footage, script, runs, weights = (tmp_path / name for name in ("footage", "watched.py", "runs", "weights"))
    footage.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.float32)
    cv2.imwrite(str(footage / "0.png"), cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8))
    script.write_text(WATCHED)
    budget = "0.03"
    for begun in (False, True):
        sizes = ["--batch", "2", "--storms", "4", "--device", "cpu", "--weights", str(weights), "--runs", str(runs)]
        done = torchrun(script, "generalist", str(footage), "--minutes", budget, *sizes)
        assert done.returncode == 0, done.stderr
        first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
        assert first["step"] > first["begun"] and (first["begun"] > 0) == begun
        for name, value in first.items():
            assert torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name], name
        budget = "0.12"  # a step may take seconds beside other work
    assert (tmp_path / "saved").read_text() == "0\n0\n"  # once by each run
    lines = [json.loads(line) for line in (runs / "fast_generalist.jsonl").read_text().splitlines()]
    facts = load(weights / "fast_generalist.safetensors")[1]
    assert len(lines) == 2 and (facts["ranks"], facts["steps"]) == ("2", str(first["step"]))


def test_the_clip_is_no_work_for_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 2)
    assert main(["clip", str(tmp_path)]) == 2
    assert "clip runs in one process" in capsys.readouterr().err


def test_too_few_gpus_are_named() -> None:
    assert ranks.own_gpu(1, 2) == "cuda:1"
    with pytest.raises(ValueError, match="--nproc-per-node 2"):
        ranks.own_gpu(2, 2)
