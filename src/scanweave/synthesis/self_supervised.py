"""`self-supervised`: thinner slices, learned from the detail that the scan's own slices have along rows and columns.

A stack of thick slices is sharp within each slice and coarse across them. So its slices teach what is lost: degraded
along their rows, and along their columns, by the stack's own slice profile (thickness and gap), they give pairs of
coarse and fine planes. A network that was fitted to these pairs then adds what is missing to planes through the stack,
sagittal and coronal, and the two passes are averaged (SMORE, ECLARE). Two things are done differently here:

- The network adds to the *consistent* cubic spline, the one that gives the measured slices when it is degraded. A
  spline through the slices' centres blurs twice.
- Whole numbers play no part: thick slices are drawn anywhere in the rows, for any ratio of spacing to pixel.

Nothing but the scan itself is learned from.

Source:
    Zhao et al., SMORE, IEEE Trans. Medical Imaging 40(3), 2021; Remedios et al., ECLARE, 2024. Consistent splines:
    Unser and Aldroubi, IEEE Trans. Signal Processing 42(11), 1994.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..devices import device_of, running
from ..errors import InputError, UsageError
from ..made import Made
from ..ops.slice_profile import Shape, SliceProfile, degrade, profile_matrix
from ..volume import Volume
from .baselines import BSpline
from .methods import SynthesisMethod
from .self_supervised_network import ThroughPlaneNetwork

_WINDOW = (16, 64)  # thick slices, pixels along them: what one example shows
_BATCH, _RATE, _WARM_UP = 16, 2e-3, 20
_ANGLES = (0.0, 30.0, 60.0)  # degrees by which acquired slices are turned, beside quarter turns
_QUIET, _TRIES = 0.15, 20  # windows of less deviation than this share of the whole's are drawn again, so often
_FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (2,))  # of planes: as they are, across slices, along them
_AT_ONCE = 8  # planes


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(SynthesisMethod):
    """Thinner slices, learned from the scan itself.

    Attributes:
        thickness: Of a slice, mm. None: slices are taken to touch each other.
        profile: ``gaussian``, its full width at half maximum the thickness, or ``box``.
        steps: Of fitting, which takes nearly all of the time; few are better than none.
        width: Channels of the network.
        seed: Of weights and examples.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
    """

    thickness: float | None = None
    profile: Shape = "gaussian"
    steps: int = 5000
    width: int = 48
    seed: int = 0
    device: str = "auto"

    name: ClassVar[str] = "self-supervised"
    other_contrasts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted.

        Raises:
            UsageError: Steps below 0, no channels, or a profile that there is not.
        """
        if self.steps < 0 or self.width < 1:
            raise UsageError(
                f"{self.steps} steps of a network of {self.width} channels",
                remedy="give no steps below 0, and one channel or more",
            )
        self.profile_of(1.0)

    def profile_of(self, spacing: float) -> SliceProfile:
        """Return the profile of slices that are `spacing` mm apart.

        Raises:
            UsageError: There is no such profile.
        """
        try:
            return SliceProfile(self.profile, spacing if self.thickness is None else self.thickness)
        except ValueError as error:
            raise UsageError(str(error), remedy="give gaussian or box, and a thickness above 0") from error

    def fit(self, volumes: Mapping[str, Volume]) -> FittedSelfSupervised:
        """Return the method bound to the subject; a contrast is studied when it is first asked for."""
        return FittedSelfSupervised(self, volumes)

    def cautions(self, contrast: str, sources: Sequence[str]) -> list[str]:
        """Return what to know of slices made so."""
        known = "is not known: slices were taken to touch each other" if self.thickness is None else None
        thickness = f"thickness {known or f'{self.thickness:g} mm'}"
        return [f"Detail between slices is learned from this scan alone ({self.profile} slice profile, {thickness})."]


@dataclass(frozen=True, slots=True)
class FittedSelfSupervised:
    """The method bound to a subject."""

    method: SelfSupervised
    volumes: Mapping[str, Volume]
    _thinned: dict[str, Thinned] = field(default_factory=dict, repr=False)

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of one of the contrasts; beyond what the slices cover, the outermost is repeated.

        The uncertainty is half of what lies between the sagittal and the coronal pass.

        Raises:
            UsageError: A contrast that the subject has not.
            InputError: One slice, one value, or slices too small to learn from.
            ResourceError: Memory gave out.
        """
        if contrast not in self.volumes:
            raise UsageError(
                f"self-supervised makes slices between slices, and there is no {contrast} among"
                f" {', '.join(self.volumes)}",
                remedy="choose a method that makes other contrasts, such as histogram-matched",
            )
        if contrast not in self._thinned:
            self._thinned[contrast] = thinned(self.volumes[contrast], self.method)
        return self._thinned[contrast].at(positions_mm)


@dataclass(frozen=True)
class Thinned:
    """A volume of thin slices.

    Attributes:
        slices: ``(thin slice, row, column)`` over the levels of the volume.
        spread: The same shape, not negative.
        first_mm: Where the first thin slice lies, from the centre of the first thick one.
        step_mm: From one to the next.
    """

    slices: Tensor
    spread: Tensor
    first_mm: float
    step_mm: float

    def at(self, positions_mm: Sequence[float]) -> Made:
        """Return slices at any positions, by a cubic B-spline between the thin ones."""
        count = len(self.slices)
        along = (np.asarray(positions_mm, dtype=np.float64) - self.first_mm) / self.step_mm
        between = _spline(np.clip(along, 0, count - 1), count)
        made, spread = degrade(self.slices, between), degrade(self.spread, between)
        return Made(made.clamp_(0, 1)[:, None], spread.clamp_(min=0)[:, None])


def thinned(volume: Volume, method: SelfSupervised) -> Thinned:
    """Fit the method to a volume, and return its thin slices: about as far apart as its pixels.

    Raises:
        InputError: One slice, one value, or slices too small to learn from.
        ResourceError: Memory gave out.
    """
    stack = torch.from_numpy(volume.unit()[0])
    spacing, *pixels = volume.spacing
    deviation = float(stack.std())
    if len(stack) < 2 or not deviation > 0:
        raise InputError("nothing lies between one slice, or within one value", path=volume.source.path)
    try:
        lattice = Lattice(spacing, (pixels[0], pixels[1]), method.profile_of(spacing))
        lessons = lattice.lessons(stack.shape[1], stack.shape[2])
    except ValueError as error:
        raise InputError(
            f"its slices of {stack.shape[1]} x {stack.shape[2]} pixels are too small to learn from for a spacing of"
            f" {spacing:g} mm",
            path=volume.source.path,
            remedy="choose another method, such as b-spline",
        ) from error
    device = device_of(method.device)
    generator = torch.Generator().manual_seed(method.seed)
    network = ThroughPlaneNetwork(lattice.factor, width=method.width, blocks=3, generator=generator)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    scaled = (stack / deviation).to(device)
    base = degrade(scaled, lattice.spline(len(stack)))
    with running(remedy="give --device cpu"):
        turned = list(_turned(scaled, isotropic=math.isclose(*pixels, rel_tol=0.01)))
        _learn(network, turned, lessons, steps=method.steps, generator=generator)
        sagittal = _through(network, scaled.permute(2, 0, 1)).permute(1, 2, 0)
        coronal = _through(network, scaled.permute(1, 0, 2)).permute(1, 0, 2)
    made = base + (sagittal + coronal) / 2
    spread = (sagittal - coronal).abs() / 2
    return Thinned((made * deviation).cpu(), (spread * deviation).cpu(), float(lattice.fine_mm(1)[0]), lattice.step)


@dataclass(frozen=True)
class Lesson:
    """What a column of pixels becomes, as matrices.

    Attributes:
        thick: ``(thick slice, pixel)``: its thick slices.
        missing: ``(thin slice, pixel)``: what the spline through them misses of its thin slices.
    """

    thick: Tensor
    missing: Tensor


@dataclass(frozen=True)
class Lattice:
    """Thick slices, and the thin ones that each is divided into.

    Attributes:
        spacing: Of thick slices, mm.
        pixels: Of rows and of columns, mm.
        profile: Of thick slices.
    """

    spacing: float
    pixels: tuple[float, float]
    profile: SliceProfile

    @property
    def factor(self) -> int:
        """Thin slices per thick one: they are about as far apart as pixels."""
        return max(1, round(self.spacing / math.sqrt(self.pixels[0] * self.pixels[1])))

    @property
    def step(self) -> float:
        """Between thin slices, mm."""
        return self.spacing / self.factor

    def fine_mm(self, count: int) -> Tensor:
        """Return where the thin slices of `count` thick ones lie, mm from the first of these."""
        halfway = (self.factor - 1) / 2
        fine: Tensor = (torch.arange(count * self.factor, dtype=torch.float64) - halfway) * self.step
        return fine

    def spline(self, count: int) -> Tensor:
        """Return ``(thin, thick)``: the cubic spline whose degraded thin slices are the thick ones."""
        fine = self.fine_mm(count)
        through = _spline(fine.numpy() / self.spacing, count)
        thick = profile_matrix(fine, torch.arange(count, dtype=torch.float64) * self.spacing, self.profile)
        inverse: Tensor = torch.linalg.pinv(thick.double() @ through.double())
        return (through.double() @ inverse).float()

    def lessons(self, rows: int, columns: int) -> tuple[Lesson, Lesson]:
        """Return what pixels along rows' normal, and along columns', teach.

        Raises:
            ValueError: Fewer than two thick slices fit into either.
        """
        down, across = self.pixels
        return self._lesson(down, rows), self._lesson(across, columns)

    def _lesson(self, pixel: float, available: int) -> Lesson:
        count = min(_WINDOW[0], int((available - 1) * pixel / self.spacing))
        if count < 2:
            raise ValueError(f"{available} pixels of {pixel:g} mm")
        centres = torch.arange(math.ceil(count * self.spacing / pixel) + 1, dtype=torch.float64) * pixel
        # The first thick slice begins where the first pixel does.
        start = (self.spacing - pixel) / 2
        thick = profile_matrix(centres, start + torch.arange(count) * self.spacing, self.profile)
        thin = _spline(np.clip((start + self.fine_mm(count).numpy()) / pixel, 0, len(centres) - 1), len(centres))
        return Lesson(thick, thin - self.spline(count) @ thick)


def _spline(along: np.ndarray[tuple[int], np.dtype[np.float64]], count: int) -> Tensor:
    """Return ``(position, slice)``: cubic B-spline interpolation at positions counted in slices."""
    spline = BSpline()
    return spline.weights(along, count) @ spline.prepared(torch.eye(count))


def _turned(stack: Tensor, *, isotropic: bool) -> Iterator[Tensor]:
    """Yield slices turned within their planes; pixels that are not square allow no turning."""
    for angle in _ANGLES if isotropic else _ANGLES[:1]:
        if angle:
            turned = ndimage.rotate(stack.cpu().numpy(), angle, axes=(1, 2), order=3, mode="nearest")
            yield torch.from_numpy(turned).to(stack)
        else:
            yield stack


def _learn(
    network: ThroughPlaneNetwork,
    stacks: Sequence[Tensor],
    lessons: tuple[Lesson, Lesson],
    *,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Fit the network to slices ``(slice, row, column)`` of unit deviation, degraded along rows or columns.

    Args:
        network: Changed in place.
        stacks: What it learns from.
        lessons: For pixels down a column, and along a row.
        steps: Of Adam, the rate rising for a moment, then falling to 0 along a cosine.
        generator: Draws the examples.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * step / max(1, steps))) / 2
    )
    ways = [(stack.transpose(1, 2) if way else stack, lessons[way]) for stack in stacks for way in (0, 1)]
    for _ in range(steps):
        stack, lesson = ways[_below(len(ways), generator)]
        pixels = torch.stack([_window(stack, lesson, generator) for _ in range(_BATCH)])
        pixels = pixels.flip([axis for axis in (1, 2) if _below(2, generator)])
        with torch.enable_grad():
            missed = _answer(network, lesson.thick.to(pixels) @ pixels) - lesson.missing.to(pixels) @ pixels
            loss = missed.square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()


def _window(stack: Tensor, lesson: Lesson, generator: torch.Generator) -> Tensor:
    """Return ``(pixel, along)`` from anywhere that is not empty, if such a place is found soon."""
    height, width = lesson.thick.shape[1], min(_WINDOW[1], stack.shape[2])
    for _ in range(_TRIES):
        index, top, left = (
            _below(count, generator) for count in (len(stack), stack.shape[1] - height + 1, stack.shape[2] - width + 1)
        )
        area = stack[index, top : top + height, left : left + width]
        if float(area.std()) > _QUIET:
            break
    return area


def _through(network: ThroughPlaneNetwork, planes: Tensor) -> Tensor:
    """Return what is missing of planes ``(plane, thick slice, along)``, the mean over flips of what is seen."""
    made = []
    for seen in torch.split(planes, _AT_ONCE):
        answers = [_answer(network, seen.flip(axes)).flip(axes) for axes in _FLIPS]
        made.append(torch.stack(answers).mean(dim=0))
    return torch.cat(made)


def _answer(network: ThroughPlaneNetwork, planes: Tensor) -> Tensor:
    """Run the network, its convolutions in bfloat16 where that is twice as fast."""
    with torch.autocast(planes.device.type, torch.bfloat16, enabled=_has_bfloat16(planes.device)):
        missing: Tensor = network(planes)
    return missing.float()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    asked = getattr(torch.cpu, "get_capabilities", None)  # newer than the oldest PyTorch that will do
    has = asked() if asked is not None and device.type == "cpu" else {}
    return bool(has.get("avx512_bf16"))


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
