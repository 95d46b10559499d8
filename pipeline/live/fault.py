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
    (av.HTTPUnauthorizedError, "user or password missing or refused; write USER:PASSWORD@ before the host in the URL"),
    (av.HTTPForbiddenError, "this user may not; ask the server's owner"),
    (av.HTTPNotFoundError, "the server knows no such stream; look at the URL's path"),
    (av.HTTPServerError, "the server itself has a fault (5XX); look at its log, or whether it is too busy"),
    (av.HTTPTooManyRequestsError, "the server is asked too often; wait, or let fewer read"),
    (av.HTTPClientError, "the server takes no such request (4XX); look at the URL, and at what the server allows"),
    (av.InvalidDataError, "what comes from there is no video that FFmpeg reads"),
    (av.ProtocolNotFoundError, "FFmpeg knows no such protocol; look at the URL's scheme"),
)

NUMBERS = {
    errno.EIO: "input/output error; is the host's name right, or the device plugged in?",
    errno.ENOSPC: "no room left on the disk; free some",
    errno.EHOSTUNREACH: "no way to that host; look at its address and the network",
    errno.ENETUNREACH: "no way to that host; look at its address and the network",
}

NOTHING = {
    "udp": "nothing comes; is the sender on, and the port right?",
    "http": "it redirects in a circle, or sends no video; look at the URL in a browser",
    "https": "it redirects in a circle, or sends no video; look at the URL in a browser",
}
"""What FFmpeg's EIO means of an input with that scheme."""


def reason(error: Exception, scheme: str = "") -> str:
    """One line without the peer's name: what went wrong, and what to look at. scheme: of an input."""
    for kind, words in WORDS:
        if isinstance(error, kind):
            return words
    if getattr(error, "errno", None) == errno.EIO and scheme in NOTHING:
        return NOTHING[scheme]
    return NUMBERS.get(getattr(error, "errno", None) or 0, line(error))
