"""Weights on disk: safetensors files beside this package, with what made them in their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .spec import GENERALIST, QUALITY, SPECS, STILL
from .subnet import DerainNet, Mirrored

WEIGHTS = Path(__file__).parent / "weights"
"""Where the weights that ship lie."""


class WeightsError(OSError, ValueError):
    """A file that holds no weights, or not those of this network; one line that names it."""


def save(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes `state` by `drafted`."""
    with drafted(path) as draft:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, draft, dict(metadata))
        draft.chmod(0o644)  # safetensors leaves it to its owner alone


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A temporary name to write under, which becomes `path`. OSError names `path` where that fails; nothing is left then."""
    draft = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own for a full disk
        why = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise OSError(f"{path}: cannot be written: {why}; free some room, or give another folder") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state whose floats are float16, to be kept in half the space."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a weights file. FileNotFoundError names the file and how to make it; WeightsError: it holds none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no weights there; train them with derain-train, or give the folder that holds them")
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path}: is no whole file of weights: {error}; train them with derain-train") from error


def fit(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts weights, read from `path`, into a network. WeightsError if they are another network's."""
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: holds the weights of a network of another shape") from error


@contextmanager
def checkpoint(path: Path, device: torch.device, asked: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What a training run has left, to be taken back. WeightsError if it is damaged, or not of this run.

    asked: what this run was told. An older checkpoint may hold less of it.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        kept = {name: state.get("asked", {}).get(name, told) for name, told in asked.items()}
        if kept == asked:
            yield state
    except Exception as error:  # whatever a damaged or foreign file makes torch and its taker say
        raise WeightsError(f"{path}: is no checkpoint of this run; remove it, and the run begins anew") from error
    if others := [f"{name} {kept[name]}, not {told}" for name, told in asked.items() if kept[name] != told]:
        raise WeightsError(f"{path}: is of a run with {', '.join(others)}; give the same, or another --runs")


def known_as(path: Path) -> str:
    """A file or folder as checkpoints know it: with the one that holds it, so that both may be moved."""
    return "/".join(path.resolve().parts[-2:])


def subnet(pattern: str, size: str = "fast", folder: Path = WEIGHTS) -> DerainNet | Mirrored:
    """The trained sub-network of a pattern (or GENERALIST), for inference on the CPU in float32.

    Sizes with one network for everything that has neighbours give that one. That of STILL is QUALITY's whatever the size, asked twice.
    """
    if pattern == STILL:
        return Mirrored(network(folder / f"{QUALITY.name}_{STILL}.safetensors", QUALITY.name))
    name = GENERALIST if SPECS[size].alone else pattern
    return network(folder / f"{size}_{name}.safetensors", size)


def network(path: Path, size: str) -> DerainNet:
    """The network of that size in one file of weights, for inference."""
    state, facts = load(path)
    net = DerainNet(replace(SPECS[size], attention=facts.get("attention", SPECS[size].attention)))
    fit(net, state, path)
    return net.eval().requires_grad_(False)


def stamp(command: str, commit: str, **facts: object) -> dict[str, str]:
    """Metadata of a training run."""
    return {"command": command, "commit": commit, "torch": torch.__version__, **{k: str(v) for k, v in facts.items()}}
