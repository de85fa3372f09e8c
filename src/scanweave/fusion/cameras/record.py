"""What a camera recorded when: the one form that every maker's metadata is read into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError


@dataclass(frozen=True, eq=False)
class CameraRecord:
    """The frames of one recording in time.

    Attributes:
        camera: Make, as `scanweave.fusion.cameras` knows it.
        times_ns: Time of every frame on the camera's own clock, strictly increasing, in whole nanoseconds. The zero is
            the maker's.
        interval_ns: Nominal time between frames, or None.
        exposure_ns: Exposure of a frame, or None where the file does not say.
        flagged: Frames that the camera marks as taken while an external event lasted (Phantom's ``E``: the fast
            camera's recording), one bool per frame; None where it marks nothing.
        gamma: What the camera applied to intensities; 0 or 1 is linear; None where the file does not say.
        path: The file.

    Raises:
        InputError: No frames, or times that do not increase.
    """

    camera: str
    times_ns: NDArray[np.int64]
    interval_ns: float | None = None
    exposure_ns: float | None = None
    flagged: NDArray[np.bool_] | None = None
    gamma: float | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        if not len(self.times_ns):
            raise InputError("states the time of no frame", path=self.path)
        back = np.flatnonzero(np.diff(self.times_ns) <= 0)
        if len(back):
            raise InputError(
                f"time does not increase from frame {back[0]} to frame {back[0] + 1} (counted from 0)",
                path=self.path,
                remedy="the clock was set during the recording, or the file is damaged: state times otherwise",
            )

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def linear(self) -> bool:
        """Whether intensities are proportional to light, as far as the file says."""
        return self.gamma is None or self.gamma in (0.0, 1.0)

    @property
    def marked(self) -> NDArray[np.int64]:
        """Positions of the flagged frames; of all frames where the camera flags nothing."""
        if self.flagged is None:
            return np.arange(len(self), dtype=np.int64)
        return np.flatnonzero(self.flagged).astype(np.int64)
