"""A folder with what an edge device needs, and no more: graphs, prompts and their embeddings, manifest, a runner, how to build engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..models.prompts import PROMPTS
from ..models.spec import NETWORKS, PATTERNS, SPECS
from ..models.views import SIDE
from . import to_onnx
from .errors import OptionError
from .graph import PERCEPTION, PRECISIONS, Graph, subnet
from .parity import Parity
from .probe import Probe
from .profile import BUCKETS, Profile
from .runtime.torch_ import module

KNOWN = "patterns.json"
"""Tells a folder of an earlier export: of the files that are not graphs, it is written first."""

RUNNER = Path(__file__).parent / "edge_runner.py"


def export(folder: Path, model: str, weights: Path, frames: Sequence[Probe]) -> Iterator[tuple[Graph, Parity]]:
    """Fills `folder`; yields each graph and how close it came to torch. frames: footage for int8's ranges, 8-bit.

    OptionError for a folder that holds somebody else's files of the same names.
    """
    if not (folder / KNOWN).exists() and (others := [name for name in ("README.md", "run.py") if (folder / name).exists()]):
        raise OptionError(f"{folder / others[0]}: would be overwritten, and is not of an earlier export; give another folder")
    perceiver = module(Graph(PERCEPTION), weights)
    yield from to_onnx.export(perceiver, [Graph(PERCEPTION, precision=precision) for precision in PRECISIONS], folder, lambda _: frames)
    for pattern in patterns(model):
        graphs = [*(Graph(model, pattern, "u8", precision) for precision in PRECISIONS), Graph(model, pattern, "i32", "fp16")]
        net = module(graphs[0], weights)
        yield from to_onnx.export(net, graphs, folder, lambda graph: frames if graph.dtype == "u8" else ())
    embeddings = perceiver.text.tolist()  # type: ignore[operator]
    known = {name: {"prompts": PROMPTS[name], "embedding": row} for name, row in zip(PATTERNS, embeddings, strict=True)}
    (folder / KNOWN).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    shutil.copy(RUNNER, folder / "run.py")
    (folder / "README.md").write_text(readme(model), encoding="utf-8")


def patterns(model: str) -> tuple[str, ...]:
    """What the folder's sub-networks are for, each once."""
    return tuple(dict.fromkeys(subnet(model, name, "u8").pattern for name in NETWORKS))


def readme(model: str) -> str:
    lines = [trtexec(Graph(model, pattern, "i32", "fp16"), Profile(*BUCKETS[3])) for pattern in patterns(model)]
    lines.append(trtexec(Graph(PERCEPTION, precision="fp16"), Profile(SIDE, SIDE)))
    state, work, others = ("generalist", "twice", "") if SPECS[model].alone else ("past", "thirty times", OTHERS.format(model=model))
    return README.format(model=model, state=state, work=work, others=others, commands="\n".join(lines))


def trtexec(graph: Graph, shapes: Profile) -> str:
    """The command that builds an engine of `graph` on the device itself."""
    least, best, most = (
        ",".join(f"{name}:{'x'.join(map(str, ranges[k]))}" for name, ranges in shapes.ranges(graph).items()) for k in range(3)
    )
    engine = graph.file.replace(".onnx", ".engine")
    return (
        f"trtexec --onnx={graph.file} --saveEngine={engine} --timingCacheFile=timings.cache --useCudaGraph \\\n"
        f"  --minShapes={least} \\\n  --optShapes={best} \\\n  --maxShapes={most}"
    )


OTHERS = """\
| `{model}_PATTERN_u8*.onnx` | the same for frames with aligned neighbours before and after them, a graph for each pattern; not used by `run.py` |
"""

README = """\
# Rain removal on an edge device

`run.py` derains a video with these graphs; it needs numpy, onnxruntime and av, and nothing else of derain-video:

    python run.py rainy.mp4 clean.mp4                      # fp32
    python run.py rainy.mp4 clean.mp4 --precision int8     # on processors with int8 arithmetic
    python run.py rainy.mp4 clean.mp4 --moving             # the camera moves: each frame alone, many times slower

| file | what |
| --- | --- |
| `perception*.onnx` | views (N, 3, 224, 224) uint8 RGB in, scores (4,) of clear, light, heavy, downpour out |
| `{model}_{state}_u8*.onnx` | y, uv, near (uint8 planes, multiples of 8) and peak (255) in; clean_y, clean_uv, mask out |
| `{model}_still_u8*.onnx` | the same for frames without others as their state, at {work} the work: the first frame, and all with `--moving` |
{others}| `{model}_*_i32_fp16.onnx` | the same with int32 planes, 8-bit or 16-bit values: for TensorRT, which has no uint16 tensors |
| `patterns.json` | prompts and text embedding of each pattern |
| `manifest.json` | SHA-256 of each graph, commit, and its distance from torch |

## TensorRT engines, built on the Jetson itself
Up to TensorRT 10 add `--stronglyTyped`: the graphs say where they are fp16. The shapes below reach up to 1080p.

```sh
{commands}
```
"""
