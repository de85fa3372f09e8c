"""Train a toy in processes that are killed at random times, resumed, and killed again, until one finishes.

    python killed.py NAME FOLDER KILLS SEED

One process imports everything; each training is a fork of it. Says how often it was killed, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import lightning_fabric  # noqa: F401  so that forks need not import them
import torch.utils.tensorboard  # noqa: F401
from toys import RECIPES

from scanweave.training import TrainingConfig, train

CONFIG = TrainingConfig(
    steps=40, batch=4, checkpoint_every=1, validate_every=7, log_every=3, picture_every=1000, device="cpu"
)


def child(name: str, output: Path) -> int:
    """Start a training in a fork; return its process."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        train(RECIPES[name](), CONFIG, output, resume=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    name, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    began = time.monotonic()
    _, status = os.waitpid(child(name, folder / "whole"), 0)
    assert status == 0
    whole = time.monotonic() - began
    generator = random.Random(seed)
    killed = saving = 0
    status = -1
    while status != 0:
        number = child(name, folder / "killed")
        if killed < kills:
            # soon enough that a few kills are needed, late enough that each run gets somewhere
            time.sleep(generator.uniform(0, 0.6 * whole))
            os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
        assert os.WIFSIGNALED(status) or status == 0
        killed += status != 0
        saving += any((folder / "killed" / "checkpoints").glob(".step_*.part"))
    print(json.dumps({"killed": killed, "while_saving": saving}))


if __name__ == "__main__":
    main()
