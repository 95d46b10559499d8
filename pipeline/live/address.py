"""Where live video comes from and goes to: URLs, devices, `-`, recordings. As text they never show credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import av

from ..errors import OptionError
from ..place import check_folder, file_url

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "http", "https")

RTMP_KEY = re.compile(r"(rtmps?:/{1,2}[^\s/]+/(?:[^\s/'\"]+/)?)[^\s'\"]*[^\s'\":]", re.I)  # a lone element of the path is the key
FOREIGN = re.compile(r"[a-zA-Z][\w+.-]*://")
USER = re.compile(r"(\w+:/{1,2})[^\s'\"]*@")  # to the last @: passwords with / or @ in them are written unquoted
WHOLE_USER = re.compile(r"^(\w+:/{1,2}).*@")  # where the text is a URL and nothing else: quotes and spaces may be in it, too
PASSWORD = re.compile(r"((?:pass\w*|pwd)=)[^&_/?\s'\"]+", re.I)  # in the path, as some recorders have it
PORT = re.compile(r"\w+://[^/?]*:(\d+)(?:[/?]|$)")
NUMBERED = re.compile(r"%\d*d")
QUERY = re.compile(r"(\w+://[^\s?'\"]+\?)[^\s'\"]*[^\s'\":]")  # but for the colon of a message

SILENCE = 3.0
"""Seconds after which a peer that says nothing is taken for gone."""

MICRO = str(round(SILENCE * 1e6))

FORMATS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "udp": "mpegts", "tcp": "mpegts", "-": "mpegts", "hls": "hls"}
"""Scheme of an output -> FFmpeg's container. Recordings go by their ending."""

SOUND = {
    "rtsp": {"aac", "opus", "libopus", "pcm_alaw", "pcm_mulaw", "mp3", "mp3float", "ac3", "g722", "adpcm_g722", "vorbis"},
    "mpegts": {"aac", "mp2", "mp3", "mp3float", "mp2float", "ac3", "eac3", "opus", "libopus"},
    "hls": {"aac", "mp3", "mp3float", "ac3", "eac3"},
    "flv": {"aac", "mp3", "mp3float"},
}
"""Sound that a container carries to players. Others are asked of FFmpeg."""


def redacted(text: str) -> str:
    """The text with user names, passwords, queries and RTMP stream keys of its URLs replaced by dots."""
    return RTMP_KEY.sub(r"\1...", QUERY.sub(r"\1...", PASSWORD.sub(r"\1...", USER.sub(r"\1...@", text))))


@dataclass(frozen=True)
class Address:
    """One input or output. `str` of it may be shown to anybody; `url` may not."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return redacted(WHOLE_USER.sub(r"\1...@", self.url))

    @property
    def scheme(self) -> str:
        """A scheme, or `-`, `device`, `hls` for a playlist file, `file`."""
        if self.url == "-":
            return "-"
        head = self.url.partition("://")[0].lower()
        if head in SCHEMES and "://" in self.url:
            return head
        if self.url.startswith("/dev/video"):
            return "device"
        return "hls" if self.url.endswith(".m3u8") else "file"

    @property
    def live(self) -> bool:
        """Whether only the live pipeline can deal with it."""
        return self.scheme not in ("hls", "file")

    @property
    def finite(self) -> bool:
        """Whether its end is an end, not a disconnect."""
        return self.scheme in ("-", "file")

    @property
    def bursts(self) -> bool:
        """Whether it hands over many frames at once, so that they must be given their time here."""
        return self.scheme in ("file", "hls", "http", "https")

    @property
    def format(self) -> str:
        """FFmpeg's container for an output; empty: by the ending."""
        return FORMATS.get(self.scheme, "")

    @property
    def complete(self) -> bool:
        """Whether its port, if it has one, is one, and whether it has the one that its scheme cannot do without."""
        port = PORT.match(WHOLE_USER.sub(r"\1", self.url))
        return 0 < int(port[1]) < 1 << 16 if port else self.scheme not in ("udp", "tcp")

    @property
    def foreign(self) -> bool:
        """Whether it is a URL of a kind that is not known."""
        return self.scheme in ("file", "hls") and bool(FOREIGN.match(self.url))

    @property
    def secret(self) -> bool:
        """Whether the URL has what `str` of it does not show."""
        return str(self) != self.url

    def to_open(self) -> str:
        """What FFmpeg opens as an input."""
        return "pipe:0" if self.scheme == "-" else file_url(Path(self.url)) if not self.live else self.url

    def read_options(self, transport: str, limit: int) -> dict[str, str]:
        """Low delay, and an end to waiting. transport: tcp or udp, for RTSP."""
        options = {"max_pixels": str(limit)} if limit else {}
        if self.scheme in ("rtsp", "rtsps"):
            small = {"analyzeduration": "200000", "probesize": "200000", "fflags": "nobuffer"}
            return {**options, **small, "rtsp_transport": transport, "timeout": MICRO}
        if self.scheme == "device":
            return options
        if self.scheme == "udp":
            options |= {"timeout": MICRO, "overrun_nonfatal": "1", "fifo_size": "50000", **SAME_STREAMS}
        elif self.scheme == "tcp":
            options |= {"rw_timeout": MICRO, **SAME_STREAMS}
        elif self.live and self.scheme != "-":
            options |= {"rw_timeout": MICRO}
        return {**options, "analyzeduration": "1000000", "probesize": "1000000"}

    def write_options(self) -> dict[str, str]:
        named = {"hls_segment_filename": segments(Path(self.url), "%d")} if self.scheme == "hls" else {}
        return {"flush_packets": "1", "max_interleave_delta": "100000", **WRITE.get(self.scheme, {}), **named}


SAME_STREAMS = {"merge_pmt_versions": "1"}
"""For MPEG-TS: a sender that began anew with other PIDs goes on in the streams that are read already."""

PLAYLIST = "delete_segments+independent_segments+temp_file+append_list+discont_start+omit_endlist"
WRITE = {
    "rtsp": {"rtsp_transport": "tcp", "timeout": MICRO},
    "rtsps": {"rtsp_transport": "tcp", "timeout": MICRO},
    "rtmp": {"flvflags": "no_duration_filesize", "rw_timeout": MICRO},
    "rtmps": {"flvflags": "no_duration_filesize", "rw_timeout": MICRO},
    "hls": {"hls_time": "2", "hls_list_size": "6", "hls_flags": PLAYLIST},
    "udp": {"pat_period": "0.5", "muxdelay": "0", "muxpreload": "0"},
}


def is_live(words: list[str]) -> bool:
    """Whether a command line asks for the live pipeline: some word is `-`, a URL or a device."""
    return any(Address(word).live for word in words)


def segment_name(pattern: Path) -> str:
    """The strftime pattern of a recording's files: the one given, or the time put before the ending."""
    if "%" in pattern.name:
        return str(pattern)
    return str(pattern.with_name(f"{pattern.stem}_%Y%m%d-%H%M%S{pattern.suffix}"))


def segments(playlist: Path, number: str) -> str:
    """The path of a playlist's segment. The dash keeps those of cam.m3u8 apart from those of cam1.m3u8."""
    return str(playlist.with_name(f"{playlist.stem}-{number}.ts"))


def check_target(target: Address) -> None:
    """OptionError or WriteError for an output that can never be written."""
    if target.scheme in ("device", "http", "https") or target.foreign or not target.url:
        raise OptionError(f"{target}: nothing can be written there; give rtsp://, rtmp://, udp://, tcp://, a .m3u8 playlist, a file or -")
    if target.live:
        return
    path = Path(target.url)
    if target.scheme == "hls" and NUMBERED.search(target.url):
        raise OptionError(f"{target}: FFmpeg puts a number in the place of %d; name the playlist without it")
    while target.scheme == "file" and "%" in str(path.parent):  # folders that are named by the time are made
        path = path.parent
    check_folder(path)
    if target.scheme == "file" and not _takes_h264(Path(target.url)):
        raise OptionError(f"{target}: no container of that ending holds H.264; give .mp4 or .mkv")


def _takes_h264(path: Path) -> bool:
    try:
        with av.open(file_url(path), "w") as container:  # which opens no file yet
            return container.format.name == "mpegts" or "h264" in container.supported_codecs
    except ValueError:
        return False
