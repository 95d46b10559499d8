"""Recordings that were joined end to end (`cat a.ts b.ts`): the clock of the second begins anew, and is moved to follow the first."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

BACK = Fraction(1, 4)
"""Seconds by which a stream's time of decoding, which should never go back, does where another recording begins: more than by a fault of muxers."""


class Joints:
    """Moves packets so that no stream's clock goes back. moves: seconds that are added to each recording's.

    Streams come to a joint one after another, and the first of them says how far the others are moved. What is neither picture nor sound, subtitles
    say, may stand in any order: it goes with the latest recording.
    """

    def __init__(self) -> None:
        self.moves = [Fraction(0)]
        self._recording: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def mend(self, packet: av.Packet[Any], end: Fraction) -> None:
        """Moves one packet. end: of all packets so far, in seconds."""
        stream = packet.stream_index
        if packet.stream.type not in ("video", "audio"):
            self._recording[stream] = len(self.moves) - 1
        elif packet.dts is not None:
            at = packet.dts * packet.time_base
            if at < self._last.get(stream, at) - BACK:
                self._recording[stream] = self._recording.get(stream, 0) + 1
                if self._recording[stream] == len(self.moves):
                    self.moves.append(end - at)
            self._last[stream] = at
        if move := self.moves[self._recording.get(stream, 0)]:
            packet.pts = None if packet.pts is None else packet.pts + round(move / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + round(move / packet.time_base)
