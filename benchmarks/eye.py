"""Another CLIP of open_clip in the place of a runtime's own perception. It needs torch, which the rest of the runtime may not."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..export.errors import RuntimeMissing
from ..export.runtime.base import Clean, Planes, Runtime


class Eye:
    """A Runtime that perceives with a CLIP by name (None: the one that ships) and pretrained tag or checkpoint file, and derains with `runtime`,
    which it closes.

    ClipError (an OSError) if open_clip has no such CLIP; RuntimeMissing without the extra `train`.
    """

    def __init__(self, runtime: Runtime, name: str | None, pretrained: str | None) -> None:
        try:
            import torch

            from ..models.perception import SMALL, perceiver
        except ModuleNotFoundError as error:
            raise RuntimeMissing(f"--clip {name or pretrained}: {error.name} is not installed: pip install 'derain-video[train]'") from error
        self._torch, self._runtime, self._net = torch, runtime, perceiver(name or SMALL, pretrained)
        self.name, self.model, self.precision, self.device = runtime.name, runtime.model, runtime.precision, runtime.device

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            return np.asarray(self._net(self._torch.from_numpy(views)).numpy(), np.float32)

    def derain(self, pattern: str, y: Planes, uv: Planes, near: Planes, peak: int, model: str = "") -> Clean:
        return self._runtime.derain(pattern, y, uv, near, peak, model)

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> Eye:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
