"""What went wrong with a peer, in words that say what to look at. FFmpeg's own words where there is nothing to add."""

from __future__ import annotations

import errno

import av

from ..errors import line

WORDS: tuple[tuple[type[Exception], str], ...] = (
    (av.ExitError, "nothing readable came in time"),  # of a time-out of ours; FFmpeg has no other word for it
    (ConnectionRefusedError, "nothing listens there; is it on, and the port right?"),
    (BrokenPipeError, "the other side closed the connection"),
    (ConnectionResetError, "the other side closed the connection"),
    (TimeoutError, "no answer came in time"),
    (av.HTTPUnauthorizedError, "user or password missing or refused; give them in the URL: scheme://USER:PASSWORD@host/..."),
    (av.HTTPForbiddenError, "this user may not; ask the server's owner"),
    (av.HTTPNotFoundError, "the server knows no such stream; look at the URL's path"),
    (av.InvalidDataError, "what comes from there is no video that FFmpeg reads"),
    (av.ProtocolNotFoundError, "FFmpeg knows no such protocol; look at the URL's scheme"),
)

NUMBERS = {
    errno.EIO: "input/output error; is the host's name right, or the device plugged in?",
    errno.ENOSPC: "no room left on the disk; free some",
    errno.EHOSTUNREACH: "no way to that host; look at its address and the network",
    errno.ENETUNREACH: "no way to that host; look at its address and the network",
}


def reason(error: Exception) -> str:
    """One line without the peer's name: what went wrong, and what to look at."""
    for kind, words in WORDS:
        if isinstance(error, kind):
            return words
    return NUMBERS.get(getattr(error, "errno", None) or 0, line(error))
