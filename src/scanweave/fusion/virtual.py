"""Virtual experiments: both cameras simulated from one run, so that every frame the sharp one missed is known.

Frames are simulated when asked for, each with its own noise: in constant memory, and the same in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import InputError, UsageError
from ..simulate.cameras import simulate_pair
from .calibration import Calibration, as_rows
from .clocks import Clocks
from .frames import Field, Frames, Window
from .published_pair import require_pair


@dataclass(frozen=True, kw_only=True)
class VirtualOptions:
    """What the two cameras are.

    Attributes:
        ratio: Frames of the run per sharp frame; need not be whole.
        scale: Sharp pixels in the side of a coarse one.
        blur: Standard deviation of the coarse camera's own blur, in coarse pixels.
        noise: Standard deviation of normal noise in coarse frames, in units of the window.
        photons: Of a coarse pixel at the window's upper end, for Poisson noise (the published ``b0``); None for none.
        offset: By how much the coarse view is shifted, in sharp pixels along x and y.
        angle: By how much it is turned, radians.
        first: The frame of the run that the first sharp exposure begins with.
        exposure: Frames of the run that a sharp frame averages over.
        seed: Of the noise.
    """

    ratio: float = 10.0
    scale: float = 4.0
    blur: float = 0.0
    noise: float = 0.0
    photons: float | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    first: int = 0
    exposure: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse cameras that there cannot be.

        Raises:
            UsageError: As said.
        """
        if not (self.ratio >= 1 and self.scale >= 1 and 1 <= self.exposure <= self.ratio and self.first >= 0):
            raise UsageError(
                f"a sharp camera of ratio {self.ratio:g}, scale {self.scale:g}, exposure {self.exposure}",
                remedy="give a ratio and a scale from 1, and an exposure from 1 frame to the ratio",
            )
        if min(self.blur, self.noise) < 0 or (self.photons is not None and self.photons <= 0):
            raise UsageError("blur, noise and photons are not negative", remedy="leave them out for none")


@dataclass(frozen=True, eq=False)
class Virtual:
    """A virtual experiment.

    Attributes:
        coarse: What the fast camera recorded.
        sharp: What the slow one recorded.
        calibration: How they go together, exactly.
        truth: The run at the full rate and sharpness.
    """

    coarse: Frames
    sharp: Frames
    calibration: Calibration
    truth: Frames


def virtual(
    run: Cine,
    options: VirtualOptions,
    *,
    field: Field | None = None,
    window: Window | None = None,
    recorded: Cine | None = None,
) -> Virtual:
    """Return the virtual experiment that a run gives.

    Args:
        run: Grey frames.
        options: What the cameras are.
        field: The run's dark and flat field.
        window: Values that mean 0 and 1; by default as `Frames.of` finds them.
        recorded: The run again on a coarser grid, in place of a simulated fast camera.

    Raises:
        InputError: A run too short for two sharp frames, or frames too small for a coarse pixel; or runs that are not
            one.
        UsageError: A fast camera that is recorded, and told how to be simulated too.
    """
    if recorded is not None:
        _require_recorded(run, recorded, options)
    truth = Frames.of(run, "sharp", field=field, window=window)
    last = len(run) - options.exposure
    chosen = np.rint(np.arange(options.first, last + 1, options.ratio)).astype(int)
    chosen = chosen[chosen <= last]
    if len(chosen) < 2 or min(truth.shape) < 2 * options.scale:
        raise InputError(
            f"a run of {len(run)} frames of {truth.shape[0]} x {truth.shape[1]} pixels gives no two sharp frames"
            f" {options.ratio:g} apart, or no coarse pixels of {options.scale:g}",
            path=run.source.path,
            remedy="give a longer run, or a smaller ratio or scale",
        )
    look = _Coarse(truth, options)
    shape = look(0).shape if recorded is None else recorded.shape
    matrix = simulate_pair(np.zeros((1, *truth.shape), np.float32), ratio=1, **look.geometry).matrix
    if recorded is None:
        coarse = Cine(
            look, shape=shape, dtype=np.float32, times=run.times, time_unit=run.time_unit, levels=(0.0, 1.0),
            source=run.source,
        )  # fmt: skip
        fast = Frames.of(coarse, "fast", window=(0.0, 1.0))
    else:
        fast = Frames.of(recorded.with_times(run.times, time_unit=run.time_unit), "fast")
    sharp = Cine(
        lambda i: _exposed(truth, int(chosen[i]), options.exposure),
        shape=truth.shape, dtype=np.float32, times=run.times[chosen], time_unit=run.time_unit, levels=(0.0, 1.0),
        source=run.source,
    )  # fmt: skip
    interval = run.duration / max(len(run) - 1, 1)
    clocks = Clocks(fast_exposure=interval, sharp_exposure=interval * options.exposure)
    return Virtual(
        fast,
        Frames.of(sharp, "sharp", window=(0.0, 1.0)),
        Calibration(
            method="stated",
            coarse_shape=(shape[0], shape[1]),
            sharp_shape=truth.shape,
            matrix=as_rows(matrix),
            clocks=clocks,
        ),
        truth,
    )


def _require_recorded(run: Cine, recorded: Cine, options: VirtualOptions) -> None:
    """Refuse a recorded fast camera that is not the run's, or that is to be simulated too."""
    usual = VirtualOptions()
    for name in ("blur", "noise", "photons", "offset", "angle"):
        if getattr(options, name) != getattr(usual, name):
            raise UsageError(
                f"the fast camera's frames are recorded: no {name} is simulated", remedy=f"leave out --{name}"
            )
    require_pair(run, recorded, options.scale)


@dataclass(frozen=True, eq=False)
class _Coarse:
    """What the fast camera makes of each frame."""

    truth: Frames
    options: VirtualOptions

    @property
    def geometry(self) -> dict[str, Any]:
        return {name: getattr(self.options, name) for name in ("scale", "blur", "offset", "angle")}

    def __call__(self, i: int) -> NDArray[np.float32]:
        frame, options = self.truth.unit(i), self.options
        # photons of the simulator are at the frame's own largest value, ours at the window's end
        photons = None if options.photons is None else options.photons * max(float(frame.max()), 1e-6)
        generator = np.random.default_rng((options.seed, i))
        made = simulate_pair(
            frame[None], ratio=1, noise=options.noise, photons=photons, generator=generator, **self.geometry
        )
        return np.asarray(made.coarse[0], np.float32)


def _exposed(truth: Frames, first: int, count: int) -> NDArray[np.float32]:
    return np.asarray(np.mean([truth.unit(i) for i in range(first, first + count)], axis=0), np.float32)
