"""Rules of the house: layers, lean import, one exit code per error class."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scanweave import errors

ROOT = Path(__file__).resolve().parents[1]


def test_lower_rooms_never_import_upper_ones():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_scanweave_is_lean():
    """Counted in modules, not seconds, so that a busy machine cannot fail it: nothing heavy is loaded."""
    code = (
        "import sys, torch; before = set(sys.modules); import scanweave; "
        "new = {m.split('.')[0] for m in set(sys.modules) - before}; print(*sorted(new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["scanweave"]


def test_public_names_are_there():
    import scanweave

    for name in scanweave.__all__:
        assert getattr(scanweave, name) is not None
    with pytest.raises(AttributeError):
        _ = scanweave.nothing_of_this_name


def test_each_error_class_has_its_own_exit_code():
    classes = [
        errors.UsageError,
        errors.InputError,
        errors.UnsupportedError,
        errors.OutputError,
        errors.WeightsError,
        errors.ResourceError,
        errors.Interrupted,
    ]
    assert [kind.exit_code for kind in classes] == [2, 3, 4, 5, 6, 7, 130]


def test_messages_are_one_line_with_file_reason_and_remedy():
    error = errors.InputError("is\nbroken", path="a.dcm", remedy="send\n it again")
    assert str(error) == "a.dcm: is broken (send it again)"
