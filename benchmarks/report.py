"""What a benchmark prints while it runs and when it is done, and what it leaves as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..models.spec import RAINY
from . import sheet
from .footage import Clip
from .kinds import Kind
from .methods import Method
from .origin import origin
from .quality import as_json, oracle, rows, summaries, table


def quality(kinds: Sequence[Kind], clips: Sequence[Clip], methods: Mapping[str, Method], picture: Path | None) -> dict[str, Any]:
    """Measures, prints the table, writes the contact sheet of the method `ours` to `picture`; returns the figures."""
    done = rows(kinds, clips, methods)
    found = [row for part in tqdm(done, total=len(kinds) * len(clips), unit="clip", leave=False) for row in part]
    alone = [name for name in RAINY if name in methods]
    found += oracle(found, alone)
    parts = summaries(found, kinds)
    print(table(parts, kinds))
    if picture:
        sheet.write(picture, kinds, clips, methods["ours"])
    return origin() | as_json(parts, found)


def write(path: Path, result: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
