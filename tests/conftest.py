"""Fixtures that all tests share; the only place that knows where the reference folder is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference folder (real scans, specs, goldens): `SCANWEAVE_SHARED`, else ``../shared``."""
    folder = Path(os.environ.get("SCANWEAVE_SHARED", _DEFAULT))
    if not folder.is_dir():
        if os.environ.get("SCANWEAVE_REQUIRE_SHARED") == "1":
            pytest.fail(f"the reference folder {folder} is missing, and SCANWEAVE_REQUIRE_SHARED=1")
        pytest.skip(f"no reference folder at {folder} (set SCANWEAVE_SHARED)")
    return folder
