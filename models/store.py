"""Weights on disk: safetensors files beside this package, with what made them in their metadata."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
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
    """Writes `state` under a temporary name and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, draft, dict(metadata))
    draft.chmod(0o644)  # safetensors leaves it to its owner alone
    draft.replace(path)


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


def checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What a training run has left to go on from. WeightsError if it is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: is no whole checkpoint; remove it, and the run begins anew") from error
    return state


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
