import argparse
import importlib
from fractions import Fraction

import pytest

from derain_video.models.options import number


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "0", 0),
        (int, "8", 8),
        (float, "2.5", 2.5),
        (Fraction, "30000/1001", Fraction(30000, 1001)),
    ],
)
def test_a_number_within_bounds(kind: type[int], text: str, value: int) -> None:
    assert number(kind, 0, 30)(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [*((int, text) for text in ("-1", "9", "1.0", "", "x")), *((float, text) for text in ("-0.1", "8.1", "nan", "inf")), (Fraction, "1/0")],
)
def test_a_number_beyond_bounds_is_refused_with_them(kind: type[int], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^'{text}': give a (whole )?number from 0 to 8$"):
        number(kind, 0, 8)(text)


@pytest.mark.parametrize(
    ("module", "argv", "said"),
    [
        ("pipeline.cli", ["in.mp4", "out.mp4", "--max-pixels", "-1"], "derain-video: argument --max-pixels: '-1'"),
        ("pipeline.cli", ["rtsp://a/1", "rtsp://b/1", "--patience", "nan"], "derain-video: argument --patience: 'nan'"),
        ("pipeline.cli", ["a.mp4", "b.mp4", "--crf=--"], "derain-video: argument --crf: '--' is no value"),
        ("pipeline.cli", ["serve"], "derain-video serve: "),
        ("export.cli", ["onnx", "--precision", "int3"], "derain-export onnx: argument --precision"),
        ("benchmarks.cli", ["speed", "--frames", "9" * 30], "derain-bench speed: argument --frames"),
        ("benchmarks.cli", ["quality", "in", "--sheet", ".png"], "derain-bench quality: argument --sheet: '.png': give a name"),
        ("benchmarks.cli", ["quality", "in", "--shee", "a.png"], "derain-bench: unrecognized arguments: --shee"),
        ("models.train.cli", ["generalist", "in", "--minutes", "0"], "derain-train: argument --minutes: '0'"),
        ("models.train.cli", ["clip", "in", "--device", "abacus"], "derain-train: argument --device: 'abacus' is not there"),
    ],
)
def test_every_command_complains_in_one_line(module: str, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"derain_video.{module}").main(argv)
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1
