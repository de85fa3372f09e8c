import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys, resource
import torch
from scanweave.ops.memory import keep_freed_memory
kept = keep_freed_memory()
image, conv = torch.rand(1, 32, 256, 256), torch.nn.Conv2d(32, 32, 3, padding=1)
with torch.no_grad():
    torch.relu(conv(conv(image)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.relu(conv(conv(image)))
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def outcome(**environment: str) -> tuple[bool, int]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")} | environment
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    kept, faults = run.stdout.split()
    return kept == "True", int(faults)


def test_freed_tensors_leave_their_pages_to_the_next_where_the_c_library_can() -> None:
    kept, faults = outcome()
    assert kept == (platform.libc_ver()[0] == "glibc")
    if kept:
        assert faults < outcome(SCANWEAVE_KEEP_MEMORY="0")[1] / 4


@pytest.mark.parametrize("environment", [{"SCANWEAVE_KEEP_MEMORY": "0"}, {"MALLOC_MMAP_MAX_": "65536"}])
def test_what_the_user_chose_stands(environment: dict[str, str]) -> None:
    assert outcome(**environment)[0] is False
