"""Which contrast a file shows, by its name or its header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from ..io.published_drdm import stem
from ..synthesis.contrasts import canonical as canonical
from ..synthesis.contrasts import contrast_in as contrast_in
from ..synthesis.contrasts import rest_of as rest_of
from ..volume import Volume

_BIDS_SUFFIXES = {"T1": "T1w", "T2": "T2w", "PD": "PDw", "T2star": "T2starw"}
_HEADER = ("AcquisitionContrast", "SeriesDescription", "ProtocolName")


def bids_suffix(contrast: str) -> str:
    """Return the suffix that BIDS has for a contrast."""
    return _BIDS_SUFFIXES.get(contrast, re.sub(r"[^A-Za-z0-9]", "", contrast))


def contrast_of_file(path: Path, volume: Volume | None = None) -> str:
    """Return the contrast of a file by its name, else by the header of what was read of it.

    Raises:
        UsageError: Neither tells.
    """
    found = contrast_in(stem(path))
    if found is None and volume is not None:
        found = next((name for said in _said(volume) if (name := contrast_in(said))), None)
    if found is None:
        raise UsageError(
            "neither its name nor its header tells the contrast", path=path, remedy="say it: --contrast T1"
        )
    return found


def _said(volume: Volume) -> Iterable[str]:
    header = volume.source.header
    if header is None or volume.source.format != "dicom":
        return ()
    kinds = [str(kind) for kind in header.get("ImageType", ())]
    return [*(str(header.get(keyword, "") or "") for keyword in _HEADER), *kinds[2:3]]
