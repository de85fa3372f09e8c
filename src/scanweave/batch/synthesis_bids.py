"""Synthesized volumes as BIDS derivatives (BIDS 1.9, Derivatives)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import OutputError
from ..io.files import atomic_output, check_output
from ..io.published_drdm import stem
from ..plan import InputFile
from ..synthesis.api import Synthesized
from .synthesis_subjects import BIDS_DESCRIPTION

_IGNORED = "*.scanweave.json\n"
_GENERATED = [{"Name": "scanweave", "Version": __version__, "Description": "All images are synthetic; research only"}]


def check_dataset(output: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder for derivatives that is something else.

    Raises:
        OutputError: The folder is another dataset, or an input.
    """
    check_output(output, list(inputs), overwrite=True)
    file = output / BIDS_DESCRIPTION
    if file.is_file() and _names(file) != "derivative":
        raise OutputError(
            "is a dataset of its own, not of derivatives", path=output, remedy="give another folder with -o"
        )


def describe_dataset(output: Path) -> None:
    """Write what a folder of derivatives is, where that is not said yet.

    Raises:
        OutputError: It cannot be written.
    """
    if (output / BIDS_DESCRIPTION).is_file():
        return
    told = {
        "Name": "Volumes synthesized by scanweave",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": _GENERATED,
    }
    _write(output / BIDS_DESCRIPTION, told)
    with atomic_output(output / ".bidsignore") as place:
        place.write_text(_IGNORED, encoding="utf-8")


def write_bids_sidecar(target: Path, made: Synthesized, sources: Sequence[Path], inputs: Sequence[InputFile]) -> Path:
    """Write the JSON that BIDS wants beside an image, and return where it lies."""
    told: dict[str, Any] = {
        "Description": f"{made.derivation.summary}. All slices are synthetic; research use only, not for diagnosis.",
        "Sources": [f"bids::{_below_dataset(path)}" for path in sources],
        "SourceSHA256": [one.sha256 for one in inputs[: len(sources)]],
        "SpacingBetweenSlices": made.spacing,
        "SyntheticData": True,
        "GeneratedBy": _GENERATED,
        "Method": made.method["name"],
    }
    path = target.with_name(f"{stem(target)}.json")
    _write(path, told)
    return path


def _below_dataset(path: Path) -> str:
    """Return the part of a name from the folder of the person on."""
    parts = path.parts
    first = next((k for k, part in enumerate(parts) if part.startswith("sub-")), len(parts) - 1)
    return "/".join(parts[first:])


def _names(file: Path) -> str | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told.get("DatasetType") if isinstance(told, dict) else None


def _write(path: Path, told: dict[str, Any]) -> None:
    with atomic_output(path) as place:
        place.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
