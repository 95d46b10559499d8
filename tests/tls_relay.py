"""TLS before a server that has none, with a certificate that nobody signed.

As a program: `python tls_relay.py PORT CERTIFICATE`, PORT the server's, CERTIFICATE with its key; prints its own port.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

OPENSSL = shutil.which("openssl")


class Relay:
    """A relay in a process of its own, for the reason that rtsp_server.Running has."""

    def __init__(self, port: int, folder: Path) -> None:
        key, public = folder / f"{port}.pem", folder / f"{port}.public.pem"
        new = [OPENSSL, *"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=camera".split(), "-keyout", key, "-out", public]
        subprocess.run(new, capture_output=True, check=True)
        with open(key, "ab") as file:
            file.write(public.read_bytes())
        self.process = subprocess.Popen([sys.executable, __file__, str(port), key], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *fault: object) -> None:
        self.process.kill()
        self.process.communicate()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(port: int, certificate: str) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
