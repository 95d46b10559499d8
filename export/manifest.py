"""The list beside the exported graphs: what each file is, its SHA-256 and how close it came to torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import GraphError, GraphMissing
from .graph import Graph

FILE = "manifest.json"
GRAPHS = Path(__file__).parent / "graphs"
"""Where the graphs that ship lie."""

Entries = dict[str, dict[str, Any]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(folder: Path) -> Entries:
    """Entries by file name. GraphError if the folder has no manifest or a damaged one."""
    path = folder / FILE
    try:
        entries: Entries = dict(json.loads(path.read_text(encoding="utf-8"))["graphs"])
        if not all(isinstance(entry["sha256"], str) for entry in entries.values()):
            raise TypeError("a sha256 is no text")
        return entries
    except FileNotFoundError:
        raise GraphError(f"{path}: no exported graphs there; make them with 'derain-export onnx --out {folder}'") from None
    except (ValueError, KeyError, TypeError) as error:
        raise GraphError(f"{path}: damaged manifest, or none of graphs ({error}); remove it and export again, or give another folder") from None


def check(folder: Path) -> None:
    """GraphError if the folder has a manifest that cannot be added to."""
    if (folder / FILE).exists():
        read(folder)


def add(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Puts entries into the folder's manifest, in place of those of the same names."""
    path = folder / FILE
    known = read(folder) if path.is_file() else {}
    known.update({name: dict(entry) for name, entry in entries.items()})
    draft = folder / f"{FILE}.{os.getpid()}.tmp"  # another run may write one, too
    draft.write_text(json.dumps({"graphs": dict(sorted(known.items()))}, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)


def content(folder: Path, graph: Graph) -> bytes:
    """The ONNX bytes of a graph, checked against the manifest. GraphError names the file and the remedy."""
    entry = read(folder).get(graph.file)
    path = folder / graph.file
    if entry is None or not path.is_file():
        kind = GraphMissing if entry is None else GraphError
        raise kind(f"{path}: no such graph; make it with '{_command(graph, folder)}'")
    data = path.read_bytes()
    if sha256(data) != entry["sha256"]:
        raise GraphError(f"{path}: differs from its SHA-256 in {FILE}; export it again with '{_command(graph, folder)}'")
    return data


def _command(graph: Graph, folder: Path) -> str:
    network = f" --model {graph.network} --dtype {graph.dtype}" if graph.dtype else ""
    precision = "" if graph.precision == "fp32" else f" --precision {graph.precision}"
    return f"derain-export onnx{network}{precision} --out {folder}"
