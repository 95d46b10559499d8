"""A short share of the soak (tests/soak.py)."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_short_soak():
    soak = Path(__file__).with_name("soak.py")
    # A machine that runs other tests beside this one delays more than the soak allows: here only counts and leftovers are held.
    done = subprocess.run([sys.executable, soak, "--seconds", "22", "--every", "4", "--p95", "5", "--growth", "80"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(kick, kick camera, kick us" in done.stdout
