"""Fixtures that all tests share; the only place that knows where the reference folder is."""

from __future__ import annotations

import os
from collections import Counter
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


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Golden vectors that may be published, kept beside the tests."""
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def echo_path() -> Path:
    """The real echo that comes with pydicom: 30 frames, 8-bit colour, JPEG baseline."""
    from pydicom.examples import get_path

    return Path(get_path("ybr_color"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests used the reference folder, and that none was skipped."""
    count = Counter(
        outcome
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if "reference" in getattr(report, "keywords", {})
    )
    terminalreporter.write_line(
        f"reference tests: {count['passed'] + count['failed']} ran, {count['skipped']} skipped"
    )
