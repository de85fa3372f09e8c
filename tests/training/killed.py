"""Train a toy in processes that are killed at random times, resumed, and killed again, until one finishes.

    python killed.py NAME FOLDER KILLS SEED

One process imports everything; each training is a fork of it. Says how often a kill cut a
checkpoint short, as JSON.
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
from scanweave.training.checkpoints import Checkpoints

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


def wait_for(checkpoints: Checkpoints, step: int) -> None:
    """Wait until `step` is reached."""
    while max(checkpoints.steps(), default=0) < step:
        time.sleep(0.001)


def main() -> None:
    name, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    _, status = os.waitpid(child(name, folder / "whole"), 0)
    assert status == 0
    generator = random.Random(seed)
    checkpoints = Checkpoints(folder / "killed" / "checkpoints")
    saving = 0
    for _ in range(kills):
        reached = max(checkpoints.steps(), default=0)
        number = child(name, folder / "killed")
        wait_for(checkpoints, reached + generator.randint(0, (CONFIG.steps - 1) // kills - 1))
        time.sleep(generator.uniform(0, 0.01))
        os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
        saving += any(checkpoints.folder.glob(".step_*.part"))
    _, status = os.waitpid(child(name, folder / "killed"), 0)
    assert status == 0
    print(json.dumps({"left_over": saving}))


if __name__ == "__main__":
    main()
