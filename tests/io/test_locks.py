"""A lock is one process's, and ends with it."""

from __future__ import annotations

import subprocess
import sys

from scanweave.io.locks import FileLock

HOLDER = """
import sys
from pathlib import Path
from scanweave.io.locks import FileLock
print(FileLock(Path(sys.argv[1])).take(), flush=True)
sys.stdin.read()
"""


def holder(path):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_another_process_has_it_until_it_is_killed(tmp_path):
    other = holder(tmp_path / "lock")
    assert other.stdout.readline().strip() == "True"
    lock = FileLock(tmp_path / "lock")
    assert not lock.take()
    other.kill()
    other.communicate()
    assert lock.take()
    with holder(tmp_path / "lock") as third:
        assert third.communicate()[0].strip() == "False"
    lock.release()
