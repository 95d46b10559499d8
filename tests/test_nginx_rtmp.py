"""Against nginx's RTMP server, where Debian's nginx and libnginx-mod-rtmp are installed: both sides, HLS from it, and its restart."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import Publisher, Reader, grows, job_of, live, until

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

SETTINGS = """
load_module {module};
daemon off; pid {folder}/pid; error_log {folder}/errors; {user}
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; hls on; hls_path {folder}/hls; hls_fragment 1s; }} }} }}
"""


@contextlib.contextmanager
def nginx(port, folder):
    user = "user root;" if os.geteuid() == 0 else ""  # else root's nginx leaves it to another user, who may not write here
    (folder / "nginx.conf").write_text(SETTINGS.format(module=MODULE, folder=folder, port=port, user=user))
    with subprocess.Popen(["nginx", "-e", folder / "errors", "-c", folder / "nginx.conf"]) as process:
        try:
            until(lambda: answers(port))
            yield
        finally:
            process.terminate()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.skipif(shutil.which("nginx") is None or not MODULE.exists(), reason="needs Debian's nginx and libnginx-mod-rtmp")
def test_nginx_in_between_and_its_restart(runtime, tmp_path):
    url = "rtmp://127.0.0.1:23466/live"
    with Publisher(f"{url}/in", "flv"), Reader(f"{url}/out") as reader, live(job_of(f"{url}/in", f"{url}/out"), runtime) as report:
        with nginx(23466, tmp_path):
            until(lambda: len(reader.numbers) > 50 and "#EXTINF" in (tmp_path / "hls" / "out.m3u8").read_text())
        time.sleep(1)
        seen, before = len(reader.numbers), report.reconnects
        with nginx(23466, tmp_path):
            until(lambda: len(reader.numbers) > seen + 50)
    assert reader.sessions >= 2 and report.reconnects > before >= 0 and report.outputs[0].reconnects >= 1
    for session in range(1, reader.sessions + 1):
        assert grows([seconds for _, seconds, _, at in reader.numbers if at == session])
    assert grows([number for number, _, _, _ in reader.numbers]) and len(reader.sound) > 100 and report.damaged == 0
