"""The notebook of the job runs from top to bottom, and is kept with what it showed.

To make its outputs anew: ``jupyter nbconvert --to notebook --execute --inplace docs/deformation.ipynb``.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "deformation.ipynb"


@pytest.fixture(scope="module")
def stored() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return what kinds of output each cell of code shows, such as ``image/png`` and ``stdout``."""
    return [
        [
            kind
            for output in cell.outputs
            for kind in sorted(output.get("data", {output.get("name", output.output_type): None}))
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_it_runs_and_shows_what_it_is_kept_with(stored, tmp_path):
    made = NotebookClient(
        nbformat.from_dict(stored), timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert kinds(made) == kinds(stored)
    assert list(tmp_path.iterdir()) == []


def test_it_is_kept_small_in_order_and_without_errors(stored):
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [kind for cell in kinds(stored) for kind in cell]
    assert shown.count("image/png") >= 4 and not {"error", "stderr"} & set(shown)
    assert NOTEBOOK.stat().st_size < 600_000
    assert not [home for home in ("/home/", "/tmp/", "/usr/") if home in NOTEBOOK.read_text()]


def test_its_pictures_are_not_empty(stored):
    for cell in stored.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                picture = decoded(output.data["image/png"])
                assert picture.std() > 20 and min(picture.shape[:2]) > 150


def decoded(encoded: str) -> np.ndarray:
    """Return an embedded picture as ``(row, column)`` of grey values."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L"), dtype=float)
