"""AAC as MPEG-TS has it, with a header on every packet (ADTS, ISO/IEC 13818-7, 6.2), made into what every other container has: told once for all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import av

from ..video import Packet

LOOK = 500
"""Packets in which the first of the sound is looked for."""

HEADER, CHECKED = 7, 9
"""Bytes of a header, without and with a checksum."""


def bare(packet: bytes) -> bytes:
    """A packet without its header."""
    marked = len(packet) > CHECKED and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0
    return packet[HEADER if packet[1] & 1 else CHECKED :] if marked else packet


def ahead(packets: Iterator[Packet], stream: av.AudioStream, enough: Callable[[], bool]) -> tuple[list[Packet], Packet | None]:
    """The next packets up to the first of a stream, and that; None if it does not come soon. enough: whether to look no further."""
    seen: list[Packet] = []
    for packet in packets:
        seen.append(packet)
        if packet.stream_index == stream.index and packet.size:
            return seen, packet
        if len(seen) == LOOK or enough():
            break
    return seen, None


@contextmanager
def described(stream: av.AudioStream, packet: Packet) -> Iterator[av.AudioStream]:
    """A stream of that packet alone, which tells what the header told. FFmpeg's writer of Matroska sees to that."""
    made = io.BytesIO()
    with av.open(made, "w", format="matroska") as out:
        copy = av.Packet(bytes(packet))
        copy.stream, copy.pts, copy.dts, copy.time_base = out.add_stream_from_template(stream, opaque=True), 0, 0, packet.time_base
        out.mux_one(copy)
    made.seek(0)
    with av.open(made, "r", format="matroska") as told:
        yield told.streams.audio[0]
