"""What a folder of deformed copies comes to, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .deformation import DeformOutcome
from .deformation_manifest import CopyEntry, Manifest


def labels_kept(copies: Sequence[CopyEntry]) -> tuple[int, int]:
    """Return how many labels, over all copies, are in as many parts as before; and how many there are."""
    found = [one for entry in copies for of_map in entry.label_checks for one in of_map]
    return sum(one["components_after"] == one["components_before"] for one in found), len(found)


def summary(outcome: DeformOutcome) -> dict[str, Any]:
    """Return an outcome as JSON types."""
    error = outcome.error
    told: dict[str, Any] = {
        "input": outcome.source,
        "output": None if outcome.output is None else str(outcome.output),
        "report": None if outcome.report is None else str(outcome.report),
        "notes": list(outcome.notes),
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
    }
    return told if outcome.manifest is None else {**told, **numbers(outcome.manifest)}


def numbers(manifest: Manifest) -> dict[str, Any]:
    """Return counts, folding, displacement, diversity and labels of all copies."""
    checks = [entry.checks for entry in manifest.copies]
    kept, labels = labels_kept(manifest.copies)
    return {
        "copies": len(checks),
        "folded": sum(check["folded"] > 0 for check in checks),
        "mean_mm": sum(check["mean_mm"] for check in checks) / len(checks),
        "largest_mm": max(check["largest_mm"] for check in checks),
        "diversity_mm": manifest.diversity_mm,
        "labels": labels,
        "labels_kept": kept,
    }
