"""Clips of a training set as they lie on disk; single frames are read when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..training.patients import SPLITS
from .manifest import Layout, Manifest


@dataclass(frozen=True)
class Clip:
    """Frames of one run, in order, without repeats and cuts.

    Attributes:
        name: Its folder below the set, with ``/``.
        split: ``train``, ``validation`` or ``test``; empty for a folder of clips that is one split by itself.
        files: One picture per frame, or one npy file.
        count: Number of frames.
        shape: Rows and columns.
        times: Time of each frame; None where the layout keeps none, and frames are taken as evenly spaced.
        levels: Values in the files that mean 0 and 1; None for the full depth of the files.
        patient: Pseudonym, where a manifest states one.
    """

    name: str
    split: str
    files: tuple[Path, ...]
    count: int
    shape: tuple[int, int]
    times: tuple[float, ...] | None = None
    levels: tuple[float, float] | None = None
    patient: str | None = None

    def __len__(self) -> int:
        return self.count

    def stored(self, i: int) -> NDArray[Any]:
        """Return frame `i` as it lies in its file: ``(row, column)`` or ``(row, column, 3)`` in RGB order.

        Raises:
            InputError: The file is gone, damaged, or of another size than the clip.
        """
        if self.files[0].suffix == ".npy":
            frame, path = self._read_array(i), self.files[0]
        else:
            frame, path = read_picture(self.files[i]), self.files[i]
        if frame.shape[:2] != self.shape:
            raise InputError(
                f"is {frame.shape[0]} x {frame.shape[1]}, its clip {self.shape[0]} x {self.shape[1]}",
                path=path,
                remedy="all frames of a clip must have one size",
            )
        return frame

    def _read_array(self, i: int) -> NDArray[Any]:
        path = self.files[0]
        try:
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[i])
        except (OSError, ValueError, IndexError, EOFError) as error:
            raise InputError(f"frame {i} cannot be read: {error}", path=path, remedy="prepare the set again") from error

    def stack(self, frames: Sequence[int]) -> NDArray[Any]:
        """Return frames `frames` as they lie in their files, ``(n, row, column[, 3])``.

        Raises:
            InputError: As `stored`, or they differ in depth or colour.
        """
        read = [self.stored(i) for i in frames]
        if len({(frame.dtype, frame.ndim) for frame in read}) > 1:
            raise InputError("holds frames of several depths, or grey and colour", path=self.files[0].parent)
        return np.stack(read)

    def unit(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return stored values as float32, 0 to 1 over `levels`."""
        if self.levels is not None:
            low, high = self.levels
        else:
            low, high = (0.0, 1.0) if stored.dtype.kind == "f" else (0.0, float(np.iinfo(stored.dtype).max))
        scaled: NDArray[np.float32] = (stored.astype(np.float32) - np.float32(low)) / np.float32(high - low)
        return np.clip(scaled, 0.0, 1.0, out=scaled)


def read_picture(path: Path) -> NDArray[Any]:
    """Decode one picture quickly: ``(row, column)`` or ``(row, column, 3)`` in RGB order, 8 or 16 bits.

    Raises:
        InputError: It is gone or damaged.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
    except cv2.error as error:
        raise InputError(f"cannot be decoded: {error}", path=path, remedy="the file may be damaged") from error
    if pixels is None:
        raise InputError("cannot be decoded as a picture", path=path, remedy="the file may be damaged or cut short")
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[..., [2, 1, 0]] if pixels.shape[2] >= 3 else pixels[..., 0])
    decoded: NDArray[Any] = pixels
    return decoded


@dataclass(frozen=True)
class TrainingSet:
    """Clips in splits.

    Attributes:
        path: Where it lies.
        layout: How.
        clips: All clips, in natural order.
        manifest: Its manifest, where it has one.
    """

    path: Path
    layout: Layout
    clips: tuple[Clip, ...]
    manifest: Manifest | None = None

    @cached_property
    def splits(self) -> dict[str, int]:
        """How many clips each split has."""
        counts = Counter(clip.split for clip in self.clips)
        return {split: counts[split] for split in (*SPLITS, "") if counts[split]}

    def of(self, split: str) -> tuple[Clip, ...]:
        """Return the clips of `split`; all, where the set is one split by itself.

        Raises:
            UsageError: It has none.
        """
        found = tuple(clip for clip in self.clips if clip.split in (split, ""))
        if not found:
            raise UsageError(
                f"no clips in the split {split!r}",
                path=self.path,
                remedy=f"use one of {', '.join(map(repr, self.splits))}, or prepare the set with a share for it",
            )
        return found
