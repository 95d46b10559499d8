"""One live stream: newest frame in, cleaned, encoded once, given to every output. Nothing here waits for a peer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ...export.runtime.base import Runtime
from ...models.spec import NEIGHBOURS
from ..codec import Settings
from ..decode import LIMIT
from ..derain import Held, clean
from ..errors import OptionError
from ..frame import Frame
from ..route import route_one
from .address import Address
from .half import halved, restored
from .intake import Arrival, Ended, Intake, Reading
from .outlet import Outlet
from .plan import LEVELS, SAID, Plan
from .programme import Piece, Programme
from .state import LiveReport, StateFolder

log = logging.getLogger("derain_video")
