"""Scores on samples that are not trained on: each exactly once, however many processes share them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from ..errors import UsageError
from .config import TrainingConfig
from .loading import load
from .order import seed_torch, validation_draw
from .processes import Processes
from .recipe import Recipe
from .samples import Samples


def validate(recipe: Recipe, samples: Samples, processes: Processes, config: TrainingConfig) -> dict[str, float]:
    """Return the mean of each score over all samples that have it; the same in every process.

    A score that is NaN says that its sample has nothing of the kind; the mean is NaN where no sample has.
    Sample ``i`` goes to process ``i mod processes``; none is repeated to fill a batch.

    Raises:
        UsageError: The recipe gives no score of each sample.
    """
    seed_torch(config.seed, 0, processes.rank, device=processes.device)
    mine = list(range(processes.rank, len(samples), processes.count))
    chunks = [mine[k : k + config.validation_batch] for k in range(0, len(mine), config.validation_batch)]
    parts = ([validation_draw(samples, index, seed=config.seed) for index in chunk] for chunk in chunks)
    workers = min(config.workers, len(chunks))
    batches = load(samples, parts, device=processes.device, workers=workers, prefetch=config.prefetch)
    scored: dict[int, dict[str, float]] = {}
    for chunk, batch in zip(chunks, batches, strict=True):
        with processes.autocast():
            scores = recipe.validate(batch)
        for name, values in scores.items():
            _require_each(name, values, len(chunk))
        told = {name: values.double().tolist() for name, values in scores.items()}
        scored |= {index: {name: values[k] for name, values in told.items()} for k, index in enumerate(chunk)}
    everyone = {index: scores for share in processes.gather(scored) for index, scores in share.items()}
    # summed in the samples' order, so that the mean does not depend on who scored which
    rows = [everyone[index] for index in range(len(samples))]
    return {name: _mean(row[name] for row in rows) for name in rows[0]} if rows else {}


def _mean(scores: Iterable[float]) -> float:
    told = [score for score in scores if not math.isnan(score)]
    return sum(told) / len(told) if told else math.nan


def _require_each(name: str, values: Tensor, count: int) -> None:
    if values.shape != (count,):
        raise UsageError(f"score {name!r} has the shape {tuple(values.shape)} for {count} samples: give one of each")
