"""What the published programs write of a run: 8-bit images in one npz, and a table of scores. To compare with.

Images are clamped to the window, scaled to 0..255 and rounded half to even. In the table ``psnr`` is theirs: of virtual
runs with peak 255, of real ones with the prediction's own maximum as peak; ``psnr_255`` beside it is comparable.
"""

from __future__ import annotations

import csv
import io as text
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.files import atomic_output
from ..metrics.xfusion import xfusion_aad, xfusion_actual_psnr, xfusion_ssim, xfusion_virtual_psnr

Picture = NDArray[np.uint8]

_SHARES = ("t-1 lo", "t lo", "t+1 lo", "t-1 hi", "t+1 hi")


@dataclass(frozen=True)
class Score:
    """How near a made frame is to the one that is known.

    Attributes:
        index: Of the frame among those made.
        time: Its moment on the sharp clock, seconds.
        psnr: Over the window, dB; not rounded to 8 bits.
        ssim: Of Gaussian windows.
        mae: Over the window.
        known: Whether the method was given the frame itself: no score counts then.
        to_nearest: Seconds to the nearest sharp frame that it was made of.
        published: ``psnr``, ``psnr_255``, ``aad`` and ``ssim`` as published, on 8 bits; None unless asked for.
        shares: What the network told of its five frames, if it did.
    """

    index: int
    time: float
    psnr: float
    ssim: float
    mae: float
    known: bool
    to_nearest: float
    published: tuple[float, float, float, float] | None = None
    shares: tuple[float, ...] = ()


def published_scores(made: Picture, truth: Picture, *, virtual: bool) -> tuple[float, float, float, float]:
    """Return ``psnr``, ``psnr_255``, ``aad`` and ``ssim`` as published.

    Args:
        made: ``(row, column)``.
        truth: The same shape.
        virtual: Whether the peak is 255; else the largest value of `made`.
    """
    comparable = xfusion_virtual_psnr(made, truth)
    own = comparable if virtual else xfusion_actual_psnr(made, truth)
    return own, comparable, xfusion_aad(made, truth), xfusion_ssim(made, truth)


def write_table(scores: Sequence[Score], path: Path) -> None:
    """Write the table of scores as published, with times and comparable numbers beside."""
    shares = _SHARES if scores and len(scores[0].shares) == len(_SHARES) else ()
    out = text.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["index", "psnr", "aad", "ssim", *shares, "mask", "time", "to_nearest", "psnr_255"])
    for one in scores:
        if one.published is None:
            raise ValueError(f"frame {one.index} has no published scores")
        own, comparable, aad, alike = one.published
        row: list[Any] = [one.index, own, aad, alike, *one.shares[: len(shares)], int(one.known)]
        table.writerow([*row, one.time, one.to_nearest, comparable])
    with atomic_output(path) as place:
        place.write_text(out.getvalue(), encoding="utf-8")


def write_arrays(path: Path, arrays: dict[str, tuple[tuple[int, int, int], Callable[[], Iterator[Picture]]]]) -> None:
    """Write arrays of pictures to one npz, picture by picture.

    Args:
        path: Where.
        arrays: Shape ``(n, row, column)`` and what gives the pictures, by name.
    """
    with atomic_output(path) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for name, (shape, pictures) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
                for picture in pictures():
                    entry.write(np.ascontiguousarray(picture).tobytes())
