"""Fragmented MP4 that ended in the midst of a fragment."""

from __future__ import annotations

import struct
from pathlib import Path


def cut(path: Path) -> None:
    """Ends a fragmented MP4 that a full disk broke off after its last whole fragment: players refuse a file that ends within a `moof`.

    A file that ends with a whole box stays as it is: closed in order, it has its index after the last `mdat`.
    Boxes are those of ISO/IEC 14496-12, section 4.2: 32 bits of length, or 64 after a length of 1, and four letters.
    """
    with path.open("r+b") as file:
        size, at, end, kind = path.stat().st_size, 0, 0, b""
        while len(head := file.read(16)) >= 8:
            length, kind = struct.unpack(">I4s", head[:8])
            if length == 1 and len(head) == 16:
                (length,) = struct.unpack(">Q", head[8:])
            at += length
            if length < 8 or at > size:
                break
            end = at if kind == b"mdat" else end
            file.seek(at)
        if end and (at != size or kind == b"moof"):
            file.truncate(end)
