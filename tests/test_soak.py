"""A minute of the soak (tests/soak.py)."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_minute_of_faults():
    soak = Path(__file__).with_name("soak.py")
    # A machine that runs other tests beside this one delays more than the soak allows by itself.
    done = subprocess.run([sys.executable, soak, "--seconds", "60", "--every", "5", "--p95", "3", "--growth", "15"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(kick, kick camera, kick us, loss, recode, resize, silence, stall)" in done.stdout
