"""Which streams a container carries."""

from __future__ import annotations

import io

import av

_PROGRAM = frozenset("mpeg1video mpeg2video mp2 mp3 ac3 dts pcm_dvd pcm_s16be dvd_subtitle".split())
_STREAM = frozenset(
    "h264 hevc vvc mpeg1video mpeg2video mpeg4 vc1 cavs avs2 avs3 dirac jpeg2000 jpegxs "
    "aac aac_latm mp2 mp3 ac3 eac3 dts truehd opus s302m dvb_subtitle dvb_teletext arib_caption".split()
)
CARRIED = {
    "mpegts": _STREAM,
    ".m2ts": _STREAM | {"hdmv_pgs_subtitle", "pcm_bluray"},
    **dict.fromkeys(("mpeg", "vob", "dvd", "svcd", "vcd"), _PROGRAM),
}
"""Container, or the ending that has more -> codecs that FFmpeg has a number for there; any other it writes as data, which nobody plays."""


def refusal(stream: av.stream.Stream, container: str, ending: str = "") -> str:
    """Why a container, by FFmpeg's name, cannot hold a stream; empty if it can. ending: of the file, where that tells more.

    Tried on a header in memory, where no list of ours can go stale; but those of MPEG take anything, and read only CARRIED.
    """
    kind = stream.codec_context.codec.canonical_name if stream.codec_context else ""
    if kind and kind not in CARRIED.get(ending.lower(), CARRIED.get(container, {kind})):
        return f"{container} cannot hold {kind}"
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        name = stream.codec_context.name if stream.codec_context else stream.type
        return f"{container} cannot hold {name}"
    return ""


def wears_headers(stream: av.stream.Stream) -> bool:
    """Whether its packets are AAC as MPEG-TS has it, each with a header (ADTS); others tell it once for all."""
    context = stream.codec_context
    return context is not None and context.name == "aac" and not context.extradata
