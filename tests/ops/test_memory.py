import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading
import torch
from scanweave.ops.memory import keep_freed_memory
kept = keep_freed_memory()
found = []

def work():
    image = torch.ones(24, 1024, 1024)  # more than the 64 MB that an arena of a thread can hold
    for _ in range(16):
        torch.relu(image + 1)  # until the parts of memory that are kept have found their sizes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.relu(image + 1)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(kept, *found)
"""


def outcome(**environment: str) -> tuple[bool, list[int]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")} | environment
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    kept, *faults = run.stdout.split()
    return kept == "True", [int(count) for count in faults]


def test_freed_tensors_leave_their_pages_to_the_next_where_the_c_library_can() -> None:
    """In the main thread, and in one in which frames are made while others are written."""
    kept, faults = outcome()
    assert kept == (platform.libc_ver()[0] == "glibc")
    if kept:
        given_back = outcome(SCANWEAVE_KEEP_MEMORY="0")[1]
        assert all(few < many / 4 for few, many in zip(faults, given_back, strict=True))


@pytest.mark.parametrize("environment", [{"SCANWEAVE_KEEP_MEMORY": "0"}, {"MALLOC_MMAP_MAX_": "65536"}])
def test_what_the_user_chose_stands(environment: dict[str, str]) -> None:
    assert outcome(**environment)[0] is False
