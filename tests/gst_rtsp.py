"""GStreamer's RTSP server, a second implementation besides rtsp_server.py: a camera at /cam, and /clean which keeps what is published there.

As a program: `python3 gst_rtsp.py CODEC FILE.mkv`, CODEC h264 or h265; prints its port. On Debian: python3-gi, gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-base, -good, -bad and -ugly.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODER = "{name}enc tune=zerolatency speed-preset=ultrafast key-int-max=25"
NAMES = {"h264": "x264", "h265": "x265"}
CAMERA = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=192,height=128,framerate=25/1 ! {encoder} ! "
    "rtp{codec}pay name=pay0 pt=96 audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)
KEEPER = (
    '( rtph264depay name=depay0 ! h264parse ! matroskamux name=mux streamable=true ! filesink buffer-mode=unbuffered location="{file}" '
    "rtppcmadepay name=depay1 ! mux. )"
)


def main(codec: str, file: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    camera = GstRtspServer.RTSPMediaFactory(shared=True)
    camera.set_launch(CAMERA.format(encoder=ENCODER.format(name=NAMES[codec]), codec=codec))
    server.get_mount_points().add_factory("/cam", camera)
    keeper = GstRtspServer.RTSPMediaFactory()
    keeper.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    keeper.set_launch(KEEPER.format(file=file))
    server.get_mount_points().add_factory("/clean", keeper)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
