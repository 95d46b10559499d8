"""A lock between processes, on a file. It goes with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.2
"""Seconds between two tries."""

FAR = 1 << 40
"""The byte that is locked on Windows."""

HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What a lock that another process holds is answered with, the last two by Windows."""


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock on `path`, which is made if need be and stays. `waiting` is called once if another process holds it.

    OSError where files cannot be locked.
    """
    with path.open("a+b") as file:
        if not take(file.fileno()):
            waiting()
            while not take(file.fileno()):
                time.sleep(PAUSE)
        yield  # closing the file gives the lock back


def take(descriptor: int) -> bool:
    """Whether the lock on an open file is this process's now: until that is closed. OSError where files cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)  # nobody else may write what is locked
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise
        return False
    return True
