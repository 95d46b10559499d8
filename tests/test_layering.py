"""The promises of the layout: imports run downwards, every sub-package is in the wheel, the command starts light."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import derain_video

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("models", "export", "pipeline", "benchmarks")  # each may import itself and those before it
HEAVY = ("torch", "onnxruntime", "openvino", "open_clip", "tensorrt", "onnx")


def sources() -> list[Path]:
    return sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def modules_imported(text: str, package: tuple[str, ...]) -> Iterator[str]:
    """Full dotted names that a source text in `package` imports, relative imports resolved."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*start, *filter(None, [node.module])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> list[str]:
    package = ("derain_video", *path.relative_to(ROOT).parent.parts)
    return list(modules_imported(path.read_text(encoding="utf-8"), package))


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_downwards(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    above = LAYERS[LAYERS.index(layer) + 1 :]
    upward = [name for name in imports_of(path) if name.startswith(tuple(f"derain_video.{a}" for a in above))]
    assert upward == []


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_second_copy_by_absolute_import(path: Path) -> None:
    assert [name for name in imports_of(path) if name.split(".")[0] in LAYERS] == []


def test_an_upward_import_would_be_seen() -> None:
    text = "from ...pipeline.frame import Frame\nfrom ... import export\nfrom ..spec import RAINY\nimport models.spec"
    found = list(modules_imported(text, ("derain_video", "models", "train")))
    assert found == ["derain_video.pipeline.frame.Frame", "derain_video.export", "derain_video.models.spec.RAINY", "models.spec"]


def test_setup_cfg_lists_every_sub_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    folders = {init.parent for layer in LAYERS for init in (ROOT / layer).rglob("__init__.py")}
    assert listed == {"derain_video", *(".".join(("derain_video", *f.relative_to(ROOT).parts)) for f in folders)}


def test_every_source_folder_is_a_package() -> None:
    assert [path for path in sources() if not (path.parent / "__init__.py").exists()] == []


@pytest.mark.parametrize("module", ["pipeline.cli", "export.cli", "benchmarks.cli"])
def test_importing_a_command_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, derain_video.{module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_package_root_imports_nothing() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert derain_video.__version__.count(".") == 2
