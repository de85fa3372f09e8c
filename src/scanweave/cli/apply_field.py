"""``scanweave apply-field ITEM --field OUT/NAME_0000_field.nii.gz -o DEFORMED.nii.gz``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from .. import io
from ..batch.deformation_cases import read_volume
from ..batch.inputs import collect_runs
from ..cine import Derivation
from ..deformation import ThroughPlaneWarning, apply
from ..errors import UsageError
from ..io.files import check_output
from ..plan import fingerprint
from .common import Output, Reading, parse, print_json


@dataclass(frozen=True, kw_only=True)
class ApplyField:
    """Deform a further image, or further labels, by a field that `scanweave deform` wrote (or ITK, or ANTs).

    The item may lie on another grid than the field: places are meant by millimetres. Points and meshes:
    scanweave.deformation.apply. Research use only.
    """

    item: tyro.conf.Positional[Path]
    """Image or map of labels: a file or folder of one volume."""

    field: Path
    """The field: vector NIfTI in mm."""

    output: Output
    """File to write; the suffix picks the format. Without one: a folder, for a derived DICOM series."""

    label: bool = False
    """The item is a map of labels: whole numbers, which stay what they are."""

    label_rule: Literal["nearest", "linear"] = "nearest"
    """How labels are warped."""

    beyond: Literal["edge", "zero"] = "edge"
    """What lies beyond the item: its edge, repeated, or its lowest level."""

    reading: Reading = Reading()

    overwrite: bool = False
    """Replace an output that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(ApplyField, args, prog="apply-field")
    reading = command.reading.options()
    runs = collect_runs([command.item], reading, volumes=True)
    if len(runs) > 1:
        raise UsageError(f"{command.item} holds {len(runs)} inputs", remedy="name one of them")
    check_output(command.output, [command.item, command.field], overwrite=command.overwrite)
    volume = read_volume(runs[0], reading)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ThroughPlaneWarning)
        made = apply(
            io.read_displacement(command.field),
            volume,
            label=command.label,
            label_rule=command.label_rule,
            beyond=command.beyond,
        )
    digest = fingerprint(command.field).sha256
    said = Derivation(
        source_length=volume.grid.shape[0],
        method="displacement field",
        summary=f"Deformed by a stored displacement field, SHA-256 {digest[:16]}",
    )
    written = io.write(made, command.output, overwrite=command.overwrite, derivation=said)
    notes = (*(str(warning.message) for warning in caught), *written)
    if command.json:
        print_json({"input": command.item, "field": command.field, "output": command.output, "notes": notes})
    else:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        print(command.output)
    return 0
