"""A small share of tests/fuzz.py: every clip under every mutation, once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz


@pytest.mark.skipif(sys.platform == "win32", reason="waits on pipes by select")
def test_damaged_files_end_soon_with_0_or_2(tmp_path):
    outcomes = fuzz.fuzz(0, len(fuzz.CLIPS) * len(fuzz.MUTATIONS), tmp_path)
    assert {number: outcome for number, outcome in outcomes.items() if outcome not in ("0", "2")} == {}
    assert set(outcomes.values()) == {"0", "2"}


@pytest.mark.skipif(sys.platform == "win32", reason="waits on pipes by select")
@pytest.mark.parametrize("number", [492, 1777, 1884])
def test_what_the_long_run_once_found(tmp_path, number):
    assert set(fuzz.fuzz(number, 1, tmp_path).values()) <= {"0", "2"}
