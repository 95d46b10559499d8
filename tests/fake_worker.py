"""The live command with the network that answers at once, for tests of `derain-video serve`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import FakeRuntime

from derain_video.pipeline.live import cli

cli.load = lambda *a, **k: FakeRuntime()
sys.exit(cli.main(sys.argv[1:]))
