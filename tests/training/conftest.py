"""The toys, and a way to train them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from scanweave.training import TrainingConfig, train
from scanweave.training.checkpoints import Checkpoints

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toys():
    """The tiny recipes, which programs that tests start use as well."""
    spec = importlib.util.spec_from_file_location("scanweave_toys", HERE / "toys.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scanweave_toys"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fit(tmp_path):
    """Train a recipe on the CPU into a folder; ``fit(recipe, steps=3, batch=4)``."""

    def run(recipe, *, name="run", resume=False, overwrite=False, settings=None, **options):
        config = TrainingConfig(**{"steps": 3, "batch": 4, "device": "cpu"} | options)
        return train(recipe, config, tmp_path / name, settings=settings, resume=resume, overwrite=overwrite)

    return run


@pytest.fixture(scope="session")
def state_of():
    """All tensors of a training's newest checkpoint, by name."""

    def read(folder: Path) -> dict[str, torch.Tensor]:
        _, state = Checkpoints(folder / "checkpoints").newest()
        return dict(_tensors(state, ""))

    return read


def _tensors(value, name):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}/{key}")


@pytest.fixture(scope="session")
def events_of():
    """The lines of a training's log, without times."""

    def read(folder: Path) -> list[dict]:
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [{key: line[key] for key in line if key not in ("samples_per_second", "waiting")} for line in lines]

    return read
