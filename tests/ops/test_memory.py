import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from scanweave.ops.memory import keep_freed_memory

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import resource, threading
import torch
from scanweave.ops.memory import keep_freed_memory
found = []

def work():
    def tensor():
        torch.ones(17 << 20)  # more than the 64 MB that an arena of a thread can hold
    for _ in range(12):
        tensor()  # until the parts of memory that are kept have found their sizes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        tensor()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

work()
kept = keep_freed_memory()
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(kept, *found)
"""


def test_freed_tensors_leave_their_pages_to_the_next_where_the_c_library_can() -> None:
    """In the main thread, and in one in which frames are made while others are written."""
    named = ("MALLOC_", "SCANWEAVE_KEEP_MEMORY")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(named)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    kept, *faults = run.stdout.split()
    assert kept == str(platform.libc_ver()[0] == "glibc")
    if kept == "True":
        given_back, *few = map(int, faults)
        assert len(few) == 2
        assert max(few) < given_back / 4


@pytest.mark.parametrize(("name", "value"), [("SCANWEAVE_KEEP_MEMORY", "0"), ("MALLOC_MMAP_MAX_", "65536")])
def test_what_the_user_chose_stands(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert keep_freed_memory.__wrapped__() is False  # the answer of this process is kept already


@pytest.mark.parametrize(
    "document", ["README.md", "docs/from-most-dsa.md", "docs/from-slow-motion-echocardiography.md"]
)
def test_documents_name_the_switch(document: str) -> None:
    assert "SCANWEAVE_KEEP_MEMORY=0" in (ROOT / document).read_text(encoding="utf-8")
