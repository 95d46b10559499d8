"""One picture on its way through the pipeline: planes as the decoder left them, and their time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from .embedded import Embedded

if TYPE_CHECKING:
    from .resident import Resident  # torch, which takes seconds to import, and need not be there

Plane: TypeAlias = NDArray[Any]
"""uint8, or uint16 for more than 8 bits."""


@dataclass(frozen=True)
class Layout:
    """How planes hold a picture. name: FFmpeg's pixel format; across, down: halvings of the chroma planes.

    planes: 3 for Y'CbCr, 1 for gray, and 1 with three channels for RGB.
    """

    name: str
    bits: int
    planes: int
    across: int = 0
    down: int = 0

    @property
    def rgb(self) -> bool:
        return self.name.startswith("rgb")

    @property
    def peak(self) -> int:
        return (1 << self.bits) - 1

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.bits == 8 else np.uint16

    def shape(self, plane: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of one plane of a picture of height x width; chroma is rounded up."""
        if self.rgb:
            return (height, width, 3)
        return (-(-height >> self.down), -(-width >> self.across)) if plane else (height, width)


CHROMA = {"420": (1, 1), "422": (1, 0), "440": (0, 1), "444": (0, 0)}
DEPTHS = (9, 10, 12, 14, 16)


def _known(chroma: str, bits: int) -> bool:
    return chroma != "440" or bits in (10, 12)


LAYOUTS = {
    layout.name: layout
    for layout in (
        *(Layout(f"yuv{name}p", 8, 3, *halved) for name, halved in CHROMA.items()),
        *(Layout(f"yuvj{name}p", 8, 3, *halved) for name, halved in CHROMA.items()),
        *(Layout(f"yuv{name}p{bits}le", bits, 3, *halved) for name, halved in CHROMA.items() for bits in DEPTHS if _known(name, bits)),
        Layout("gray", 8, 1),
        *(Layout(f"gray{bits}le", bits, 1) for bits in DEPTHS),
        Layout("rgb24", 8, 1),
        Layout("rgb48le", 16, 1),
    )
}
"""The layouts that the pipeline works in; everything else is brought to the nearest of them once."""


def nearest(pixels: av.VideoFormat) -> Layout:
    """The layout that holds every bit of a pixel format, or 16 of them: nv12 as yuv420p, rgba as rgb24, yuv411p as yuv422p."""
    if pixels.name in LAYOUTS:
        return LAYOUTS[pixels.name]
    bits = min(16, max(component.bits for component in pixels.components))  # floats have 32
    if pixels.is_rgb or pixels.has_palette:
        return LAYOUTS["rgb24" if bits <= 8 else "rgb48le"]
    depth = "" if bits <= 8 else f"{next(depth for depth in DEPTHS if depth >= bits)}le"
    if sum(not component.is_alpha for component in pixels.components) < 3:
        return LAYOUTS[f"gray{depth}"]
    halved = (int(pixels.chroma_width(64) < 64), int(pixels.chroma_height(64) < 64))
    return LAYOUTS[f"yuv{next(name for name, value in CHROMA.items() if value == halved)}p{depth}"]


@dataclass(frozen=True)
class Frame:
    """A picture with its time, pts * time_base seconds.

    planes: Y (H, W) with U and V as the layout halves them, or gray (H, W), or RGB (H, W, 3); uint8, or uint16 up to
    2**bits - 1. They may be views of the decoder's buffers: never write into them.
    cut: a new shot begins here. pattern: what the router made of it. mask: (H, W) uint8, 0 where nothing was changed.
    before: the frame as it came, where derain was told to keep it. picture: FFmpeg's own frame of the same pixels.
    name: file that it came from, for folders of pictures. embedded: what lay in that file beside the picture.
    resident: the same pixels on the GPU; where no planes are given, they are there alone.
    """

    planes: tuple[Plane, ...]
    layout: Layout
    pts: int = 0
    time_base: Fraction = Fraction(1, 25)
    duration: int = 0
    cut: bool = False
    pattern: str = ""
    mask: NDArray[np.uint8] | None = None
    before: Frame | None = None
    picture: av.VideoFrame | None = None
    name: str = ""
    embedded: Embedded = Embedded()
    resident: Resident | None = None

    def __post_init__(self) -> None:
        if self.resident and not self.planes:
            return
        height, width = self.planes[0].shape[:2]
        expected = [self.layout.shape(i, height, width) for i in range(self.layout.planes)]
        if [plane.shape for plane in self.planes] != expected or self.planes[0].dtype != self.layout.dtype:
            found = [(plane.shape, plane.dtype.name) for plane in self.planes]
            raise ValueError(f"planes {found} do not make a {self.layout.name} picture, which has {expected}")

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def seconds(self) -> float:
        return float(self.pts * self.time_base)

    def landed(self) -> Frame:
        """The frame with its planes in the processor's memory, and there alone."""
        return self.replace(planes=self.planes or self.resident.planes(), resident=None) if self.resident else self

    def replace(self, **changes: object) -> Frame:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def planes_of(picture: av.VideoFrame, layout: Layout) -> tuple[Plane, ...]:
    """Read-only views of a picture that is in `layout`; they keep its buffers alive."""
    views = tuple(_view(picture, i, layout) for i in range(layout.planes))
    for view in views:
        view.flags.writeable = False
    return views


def picture_of(frame: Frame) -> av.VideoFrame:
    """FFmpeg's frame of the same pixels, time and duration: on the GPU if the frame is there, the decoder's own if it is untouched, else one copy."""
    picture = frame.resident.picture() if frame.resident else frame.picture
    if picture is None:
        picture = av.VideoFrame(frame.width, frame.height, frame.layout.name)
        for i, plane in enumerate(frame.planes):
            _view(picture, i, frame.layout)[...] = plane
    picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
    picture.pict_type = 0  # else the encoder repeats the input's choice of key frames
    return picture


def _view(picture: av.VideoFrame, index: int, layout: Layout) -> Plane:
    plane = picture.planes[index]
    shape = layout.shape(index, picture.height, picture.width)
    rows: Plane = np.frombuffer(memoryview(plane), layout.dtype).reshape(-1, plane.line_size // np.dtype(layout.dtype).itemsize)
    if len(shape) == 3:
        return rows[: shape[0], : shape[1] * 3].reshape(shape)
    return rows[: shape[0], : shape[1]]
