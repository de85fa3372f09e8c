"""Prepare training and test sets of fusion: the published folders, of pictures in colour or of any recordings.

::

    SET/HR/<clip>/<frame>.png  SET/LR/<clip>/<frame>.png  SET/meta.txt       to train on
    SET/<name>_b0_<0|1>/HR/<frame>.png  .../LR/<frame>.png                   to test with; 1 of noisy coarse frames

Frames lie in ``SET.partial/`` until all are there; an interrupted preparation goes on from the frames that it has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError, UsageError
from ..fusion.clips import MetaEntry, open_clips, write_meta
from ..fusion.frames import Field, Frames
from ..fusion.patches import counted
from ..fusion.reading import read_camera
from ..fusion.virtual_samples import coarse_of
from ..io import inputs_in
from ..io.files import check_output
from ..io.images import load
from ..plan import Plan, fingerprint, plain
from .partial import PartialFolder

Progress = Callable[[str, int, int], None]
Pixels = NDArray[Any]

META = "meta.txt"
_SET = "set"
_LUMA = (19595, 38470, 7471)  # red, green, blue, of 65536
_BLOCK = 16  # what sides of sharp frames are cut to a multiple of


@dataclass(frozen=True, kw_only=True)
class FusionSetOptions:
    """All that decides a set of fusion."""

    sharp: Path | None = None
    """Folder of the sharp camera, a folder of pictures for each clip: made grey, together with --coarse and in place of
    INPUT."""

    coarse: Path | None = None
    """That of the coarse camera, with the same names."""

    channels: Literal[1, 3] = 1
    """Channels of grey pictures that are written; 3 equal ones, as the published program writes, can be read too."""

    layout: Literal["train", "test"] = "train"
    """Of recordings: train is folders of clips with a list; test the published folders to infer from."""

    step: int = 1
    """Of recordings: take every so many-th frame."""

    photons: float | None = None
    """Of recordings: noise of counting so many photons at white in coarse frames (published as b0)."""

    blur: float = 0.0
    """Of recordings: the coarse camera's own blur, standard deviation in coarse pixels."""

    bits: Literal[8, 16] = 16
    """Of recordings: depth of the pictures; the published programs read no more than 8."""

    seed: int = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        """Refuse what makes no set.

        Raises:
            UsageError: As said.
        """
        if (self.sharp is None) != (self.coarse is None):
            raise UsageError("--sharp and --coarse go together", remedy="give both")
        if self.step < 1 or self.blur < 0 or (self.photons is not None and self.photons <= 0):
            raise UsageError("a step from 1, a blur from 0 and photons above 0 are needed")


@dataclass(frozen=True)
class FusionSetOutcome:
    """What became of a preparation.

    Attributes:
        output: The set.
        clips: Their number.
        frames: Of each camera, in all.
        kept: Frames that an interrupted preparation had left.
    """

    output: Path
    clips: int
    frames: int
    kept: int = 0


@dataclass(frozen=True)
class _Frame:
    """One frame of both cameras, made when asked for."""

    place: tuple[str, str]
    make: Callable[[], tuple[Pixels, Pixels]]


def luma(pixels: Pixels) -> Pixels:
    """Return grey levels of a picture, of the depth that it has: ``(19595 R + 38470 G + 7471 B + 32768) >> 16``.

    Args:
        pixels: ``(row, column, 3)``, red first, or grey ``(row, column)``, which stays; 8 or 16 bits.
    """
    if pixels.ndim == 2:
        return pixels
    total = sum(weight * pixels[..., k].astype(np.uint64) for k, weight in enumerate(_LUMA))
    return np.asarray((np.asarray(total) + np.uint64(32768)) >> np.uint64(16)).astype(pixels.dtype)


def prepare_fusion_set(
    inputs: Sequence[Path],
    output: Path,
    options: FusionSetOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> FusionSetOutcome:
    """Make a set of fusion: of both cameras' pictures in colour, or of recordings of one camera.

    Args:
        inputs: Recordings, or folders of some; none where `options` names the pictures of both cameras.
        output: Folder to make.
        options: What is made.
        overwrite: Replace an existing set, or what an interrupted preparation left.
        resume: Go on with a preparation that was interrupted.
        progress: Called with (what, done, of how many).

    Raises:
        UsageError: Nothing, or both kinds of input.
        InputError: A file that is damaged, or that has no partner.
        OutputError: The output exists, is an input, or cannot be written; or parts are left, and `resume` is not given.
        Interrupted: The user stopped; what was made is kept.
    """
    options = options or FusionSetOptions()
    pictures = options.sharp is not None and options.coarse is not None
    if bool(inputs) == pictures:
        raise UsageError("give recordings, or --sharp and --coarse, and not both")
    sources = [*inputs, *(one for one in (options.sharp, options.coarse) if one is not None)]
    check_output(output, sources, overwrite=overwrite)
    frames, entries = _of_pictures(options) if pictures else _of_recordings(inputs, options)
    plan = Plan(
        verb="prepare fusion",
        inputs=tuple(fingerprint(one) for one in inputs),
        config=plain(options) | {"frames": ["/".join(one.place) for one in frames]},
        method={},
        seed=options.seed,
    )
    partial = _PartialPictures(output, plan, resume=resume, overwrite=overwrite)
    try:
        for done, frame in enumerate(frames, start=1):
            if not partial.holds(frame.place):
                partial.keep(frame.place, frame.make())
            if progress is not None:
                progress("writing frames", done, len(frames))
    except KeyboardInterrupt as stop:
        raise partial.interrupted() from stop
    except BaseException:
        partial.discard(only_ours=True)
        raise
    if options.layout == "train" or pictures:
        write_meta(partial.folder / _SET / META, entries)
    partial.finish()
    return FusionSetOutcome(output, len(entries), len(frames), partial.found)


class _PartialPictures(PartialFolder):
    """The pictures of an unfinished set; each is there whole, or not at all."""

    def count(self) -> int:
        """Return how many frames are kept of the camera that is written last."""
        return sum(1 for path in self.folder.rglob("*.png") if "LR" in path.parts)

    def holds(self, place: tuple[str, str]) -> bool:
        """Say whether both pictures of a frame are kept; the coarse one is written last."""
        return (self.folder / _SET / place[1]).is_file()

    def keep(self, place: tuple[str, str], pictures: tuple[Pixels, Pixels]) -> None:
        """Write both pictures of a frame.

        Raises:
            OutputError: They cannot be written.
        """
        for name, pixels in zip(place, pictures, strict=True):
            target = self.folder / _SET / name
            part = target.with_suffix(".part")
            done, data = cv2.imencode(".png", pixels)
            assert done, "OpenCV encodes 8 and 16 bits of 1 or 3 channels"
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data.tobytes())
                part.replace(target)
            except OSError as error:
                raise OutputError(f"cannot be written: {error.strerror or error}", path=target) from error

    def finish(self) -> None:
        """Put the set in its place, and remove the rest."""
        target = self._output
        old = target.with_name(f".{target.name}.replaced")
        try:
            if target.exists():
                target.replace(old)
            (self.folder / _SET).replace(target)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=target) from error
        self.discard()
        shutil.rmtree(old, ignore_errors=True)


def _of_pictures(options: FusionSetOptions) -> tuple[list[_Frame], list[MetaEntry]]:
    """Return the frames of both cameras made grey, as the published command converts them."""
    assert options.sharp is not None and options.coarse is not None
    clips = open_clips(options.sharp, options.coarse)

    def grey(sharp: Path, coarse: Path) -> Callable[[], tuple[Pixels, Pixels]]:
        def make() -> tuple[Pixels, Pixels]:
            one, other = (_stored(luma(load(path)), path, options.channels) for path in (sharp, coarse))
            return one, other

        return make

    frames = [
        _Frame((f"HR/{clip.name}/{sharp.stem}.png", f"LR/{clip.name}/{sharp.stem}.png"), grey(sharp, coarse))
        for clip in clips
        for sharp, coarse in zip(clip.sharp.paths, clip.coarse.paths, strict=True)
    ]
    return frames, [MetaEntry(clip.name, len(clip), clip.sharp.shape, options.channels) for clip in clips]


def _stored(pixels: Pixels, path: Path, channels: int) -> Pixels:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"has pixels of {pixels.dtype}, 8 or 16 bits are wanted", path=path)
    return np.repeat(pixels[..., None], 3, axis=2) if channels == 3 else pixels


def _of_recordings(inputs: Sequence[Path], options: FusionSetOptions) -> tuple[list[_Frame], list[MetaEntry]]:
    """Return the frames of both virtual cameras."""
    frames: list[_Frame] = []
    entries: list[MetaEntry] = []
    runs = [run for path in inputs for run in (inputs_in(path) if path.is_dir() else [path])]
    for number, path in enumerate(runs):
        run = read_camera(path, "sharp")
        rows, columns = run.cine.shape[:2]
        seen = Frames.of(run.cine, "sharp", field=Field.of((rows, columns), dark=run.dark, flat=run.flat))
        shape = rows // _BLOCK * _BLOCK, columns // _BLOCK * _BLOCK
        if min(shape) == 0:
            raise InputError(f"has frames of {rows} x {columns} pixels, {_BLOCK} at least are wanted", path=path)
        name = f"{number:03d}"
        noisy = int(options.photons is not None)
        roots = ("HR", "LR") if options.layout == "train" else (f"{name}_b0_{noisy}/HR", f"{name}_b0_{noisy}/LR")
        made = list(_virtual(seen, number, shape, roots, name, options))
        frames += made
        entries.append(MetaEntry(name, len(made), shape, 1))
    return frames, entries


def _virtual(
    run: Frames, number: int, shape: tuple[int, int], roots: tuple[str, str], name: str, options: FusionSetOptions
) -> Iterator[_Frame]:
    def look(i: int) -> Callable[[], tuple[Pixels, Pixels]]:
        def make() -> tuple[Pixels, Pixels]:
            sharp = np.clip(run.unit(i)[: shape[0], : shape[1]], 0, 1)
            generator = np.random.default_rng((options.seed, number, i))
            coarse = coarse_of(
                sharp[None], scale=4.0, blur=options.blur, noise=0.0, offset=(0.0, 0.0), generator=generator
            )
            if options.photons is not None:
                coarse = counted(coarse, options.photons, generator)
            return _levels(sharp, options.bits), _levels(coarse[0], options.bits)

        return make

    for k, i in enumerate(range(0, len(run), options.step)):
        clip = f"/{name}" if options.layout == "train" else ""
        yield _Frame((f"{roots[0]}{clip}/{k:08d}.png", f"{roots[1]}{clip}/{k:08d}.png"), look(i))


def _levels(unit: NDArray[np.float32], bits: int) -> Pixels:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.rint(np.clip(unit, 0, 1) * np.float64(np.iinfo(kind).max)).astype(kind)
