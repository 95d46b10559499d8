"""A relay that speaks enough RTSP for tests: one publisher (TCP) and many readers (TCP, UDP) a mount, with faults on demand.

As a program: `python rtsp_server.py PORT`, then `kick [MOUNT]`, `stall`, `unstall` and `loss N` as lines on stdin.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field

FULL = 1 << 20
"""Bytes that may wait for a reader before it misses packets."""

METHODS = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, TEARDOWN, GET_PARAMETER"


@dataclass
class Mount:
    sdp: bytes = b""
    publisher: asyncio.StreamWriter | None = None
    readers: set[Client] = field(default_factory=set)


@dataclass
class Request:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.url.split("/", 3)[3].split("/")[0] if self.url.count("/") >= 3 else ""


class Server:
    """drop_every: every such media packet is lost, 0 for none. stalled: connections stay, and nothing is said on them."""

    def __init__(self) -> None:
        self.mounts: dict[str, Mount] = {}
        self.connections: set[asyncio.StreamWriter] = set()
        self.drop_every, self.stalled, self.packets = 0, False, 0

    def kick(self, path: str = "") -> None:
        """Cuts every connection, or only the publisher of a mount."""
        publisher = self.mounts[path].publisher if path in self.mounts else None
        for writer in [publisher] if path and publisher else [] if path else list(self.connections):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        client = Client(self, reader, writer)
        try:
            await client.talk()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(writer)
            client.leave()


class Client:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.session, self.mount = secrets.token_hex(4), Mount()
        self.ports: list[int] = []  # where a UDP reader wants RTP and RTCP of each track
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))

    async def talk(self) -> None:
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":
                await self._media()
                continue
            request = await self._request(first)
            if self.server.stalled:
                continue
            if not self._answer(request):
                return
            await self.writer.drain()

    def leave(self) -> None:
        self.mount.readers.discard(self)
        if self.mount.publisher is self.writer:
            self.mount.publisher = None
            for reader in list(self.mount.readers):
                reader.writer.close()
        self.datagrams.close()
        self.writer.close()

    async def _media(self) -> None:
        head = await self.reader.readexactly(3)
        channel, size = struct.unpack(">BH", head)
        data = await self.reader.readexactly(size)
        server = self.server
        if server.stalled or self.mount.publisher is not self.writer:
            return
        server.packets += 1
        if server.drop_every and channel % 2 == 0 and server.packets % server.drop_every == 0:
            return
        for reader in list(self.mount.readers):
            reader.give(channel, data)

    def give(self, channel: int, data: bytes) -> None:
        """A packet of media. channel: two a track, RTP and RTCP."""
        if self.ports:
            self.datagrams.sendto(data, ("127.0.0.1", self.ports[channel]))
        elif self.writer.transport.get_write_buffer_size() < FULL:
            self.writer.write(struct.pack(">cBH", b"$", channel, len(data)) + data)

    async def _request(self, first: bytes) -> Request:
        lines = (first + await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, url, _ = lines[0].split(" ")
        headers = {key.strip().lower(): value.strip() for key, value in (line.split(":", 1) for line in lines[1:] if ":" in line)}
        return Request(method, url, headers, await self.reader.readexactly(int(headers.get("content-length", 0))))

    def _answer(self, request: Request) -> bool:
        """Whether the client stays."""
        act = {"ANNOUNCE": self._announce, "DESCRIBE": self._describe, "SETUP": self._setup, "PLAY": self._play}
        code, headers, body = act.get(request.method, lambda _: (200, f"Public: {METHODS}\r\n", b""))(request)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        word = "OK" if code == 200 else "Error"
        head = f"RTSP/1.0 {code} {word}\r\nCSeq: {request.headers.get('cseq', '0')}\r\nSession: {self.session};timeout=60\r\n{headers}{length}\r\n"
        self.writer.write(head.encode() + body)
        return request.method != "TEARDOWN"

    def _announce(self, request: Request) -> tuple[int, str, bytes]:
        mount = self.server.mounts.setdefault(request.path, Mount())
        if mount.publisher and mount.publisher is not self.writer:
            return 454, "", b""
        mount.publisher, mount.sdp, self.mount = self.writer, request.body, mount
        return 200, "", b""

    def _describe(self, request: Request) -> tuple[int, str, bytes]:
        mount = self.server.mounts.get(request.path)
        if not mount or not mount.publisher:
            return 404, "", b""
        self.mount = mount
        return 200, f"Content-Base: {request.url}/\r\nContent-Type: application/sdp\r\n", mount.sdp

    def _setup(self, request: Request) -> tuple[int, str, bytes]:
        transport = request.headers.get("transport", "")
        if ports := re.search(r"client_port=(\d+)-(\d+)", transport):
            self.ports += map(int, ports.groups())
            transport += ";server_port={0}-{0}".format(self.datagrams.getsockname()[1])
        return 200, f"Transport: {transport}\r\n", b""

    def _play(self, request: Request) -> tuple[int, str, bytes]:
        self.mount.readers.add(self)
        return 200, "Range: npt=0.000-\r\n", b""


class Running:
    """A server in a process of its own: FFmpeg holds Python's lock while it connects, so one in the same process could not answer."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, __file__, str(port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *fault: object) -> None:
        self.process.kill()
        self.process.communicate()

    def url(self, path: str, user: str = "") -> str:
        return f"rtsp://{user}127.0.0.1:{self.port}/{path}"

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


async def main(port: int) -> None:
    server, lines = Server(), asyncio.StreamReader()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    print("ready", listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode():
        word, *rest = line.split()
        if word == "kick":
            server.kick(*rest)
        elif word in ("stall", "unstall"):
            server.stalled = word == "stall"
        elif word == "loss":
            server.drop_every = int(rest[0])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
