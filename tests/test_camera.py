"""A camera device, /dev/video0, by a library that stands in for the kernel's (camera.c): no such hardware is needed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import grows, until

LIBRARY = ("cc", "-shared", "-fPIC", "-O1", "-o")
PROGRAM = "import sys; from derain_video.pipeline.cli import main; sys.exit(main(sys.argv[1:]))"

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not Path("/usr/include/linux/videodev2.h").exists(), reason="needs a C compiler and Linux' videodev2.h"
)


@pytest.fixture
def camera(tmp_path):
    """Starts the command on the camera: (process, what it has said, its state). The camera's faults are files in tmp_path."""
    library = tmp_path / "camera.so"
    subprocess.run([*LIBRARY, library, Path(__file__).with_name("camera.c"), "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "CAMERA": str(tmp_path)}
    words = ["/dev/video0", tmp_path / "rec.mkv", "--pattern", "clear", "--runtime", "onnx", "--state", tmp_path / "state"]
    with open(tmp_path / "said", "wb") as said, subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=said, env=environment) as process:
        yield process, (tmp_path / "said").read_text, lambda: json.loads((tmp_path / "state" / "state.json").read_text())
        process.kill()


def test_a_camera_that_is_unplugged_and_hangs(camera, tmp_path):
    process, said, state = camera
    until(lambda: (tmp_path / "state" / "after.jpg").exists())
    (tmp_path / "gone").touch()
    until(lambda: "No such device; trying again" in said() and "No such file" in said())
    (tmp_path / "gone").unlink()
    until(lambda: said().count("connected, 320x240 yuyv422") == 2)
    (tmp_path / "silent").touch()
    until(lambda: "/dev/video0: nothing came for 3 s" in said() and not state()["input_up"])
    (tmp_path / "silent").unlink()
    before = state()["frames"]
    until(lambda: state()["input_up"] and state()["frames"] > before + 25)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 143 and "Traceback" not in said()
    (recorded,) = tmp_path.glob("rec*.mkv")
    with av.open(str(recorded)) as container:
        pictures = [(float(p.pts * p.time_base), p.to_ndarray(format="gray")) for p in container.decode(video=0)]
    assert grows([at for at, _ in pictures]) and len(pictures) == state()["outputs"][0]["sent"]
    bright = np.array([(picture > 140).mean() for _, picture in pictures])
    assert bright == pytest.approx(np.full(len(pictures), 40 / 320), abs=0.02)
