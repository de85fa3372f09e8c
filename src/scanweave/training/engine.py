"""The loop that trains every recipe: steps, averages, validation, checkpoints and log, in that order."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from ..errors import Interrupted, ResourceError, ScanweaveError, UsageError
from ..plan import Plan, plain
from .averages import Averages
from .config import TrainingConfig
from .folder import TrainingFolder
from .journal import Clock, Journal, Means
from .loading import WorkerLost, load
from .networks import Networks
from .order import Order, validation_draw
from .processes import Processes
from .recipe import Batch, Horizon, Recipe
from .samples import Samples
from .stepping import Exploded, Stepper
from .stopping import StopRequest
from .validation import validate

Progress = Callable[[str, int, int], None]
_BETWEEN_PROGRESS = 0.1


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        steps: Steps taken in all, earlier runs included.
        scores: Of the last validation in this run.
        checkpoint: The last checkpoint.
        best: The best validation's value of the monitored score and its step, or None.
        skipped: Updates skipped because their gradients were not finite.
        rank: Which of the training's processes this is.
        files: Finished weights.
    """

    steps: int
    scores: Mapping[str, float]
    checkpoint: Path
    best: tuple[float, int] | None
    skipped: int
    rank: int = 0
    files: tuple[Path, ...] = ()


def train(
    recipe: Recipe,
    config: TrainingConfig,
    output: Path,
    *,
    job: str = "",
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train `recipe`, and leave weights, checkpoints, log and plan in the folder `output`.

    A run that was stopped or killed, and is resumed, ends with the same weights as one that was not: bit for bit on
    the CPU, and on a GPU as far as its own arithmetic repeats itself.

    Args:
        recipe: What to train.
        config: How.
        output: The folder; new, or a training's with `resume` or `overwrite`.
        job: The recipe's registered name, for the plan.
        settings: The recipe's configuration as plain values, for the plan.
        resume: Go on from the newest whole checkpoint there, if there is one.
        overwrite: Remove the training that is there; one that came to no checkpoint is removed unasked.
        progress: Told how many steps are done, now and then, in process 0.

    Raises:
        UsageError: Options that contradict each other, the recipe, or the training to resume.
        InputError: No samples, or one that cannot be made.
        OutputError: The folder cannot be written to; earlier checkpoints are whole.
        ResourceError: The device's memory gave out, or another process failed.
        ScanweaveError: The loss exploded, or gradients stayed infinite.
        Interrupted: The user stopped the run; it saved a checkpoint.
    """
    processes = Processes(config)
    devices = [processes.device] if processes.device.type == "cuda" else []
    folder = TrainingFolder(output)
    try:
        with torch.random.fork_rng(devices=devices):
            training = _Training(recipe, config, folder, processes, progress)
            training.begin(job, settings or {}, resume=resume, overwrite=overwrite)
            return training.run()
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"the device's memory gave out: {str(error).splitlines()[0]}",
            remedy="raise training.accumulate: less memory, the same training",
        ) from error
    finally:
        folder.release()


class _Training:
    """The state of one training in one process."""

    def __init__(
        self,
        recipe: Recipe,
        config: TrainingConfig,
        folder: TrainingFolder,
        processes: Processes,
        progress: Progress | None,
    ) -> None:
        self._recipe, self._config, self._folder, self._processes = recipe, config, folder, processes
        self._progress = progress
        self._order = Order(recipe.samples(), config.seed, config.batch, processes.count, config.accumulate)
        per_epoch = self._order.steps_per_epoch
        self._total = config.length(per_epoch)
        recipe.begin(Horizon(self._total, per_epoch, config.batch))
        self._networks = Networks(recipe, processes.device)
        processes.share(self._networks.tensors())
        self._stop = StopRequest(answer=processes.rank == 0)
        self._stepper = Stepper(recipe, self._networks, processes, config, stopping=lambda: self._stop.asked)
        self._averages = Averages({name: self._networks.modules[name] for name in recipe.averages(0)})
        validation = recipe.validation()
        self._validation = validation if validation is not None and len(validation) else None
        self._means, self._scores = Means(), dict[str, float]()
        self._best: list[tuple[float, int]] = []
        self._step = 0
        self._saved = -1
        self._clock = Clock()
        self._journal: Journal | None = None

    # --- begin, and go on

    def begin(self, job: str, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the output ready, and take up what is there."""
        plan = self._plan(job, settings)
        found = self._processes.first(
            lambda: self._folder.begin(plan, steps=self._total, resume=resume, overwrite=overwrite)
        )
        if found is not None:
            self._take_up(found)
            self._saved = self._step
        if self._processes.rank == 0:
            self._journal = Journal(self._folder.path, step=self._step)
            self._journal.tell("resume" if found else "start", self._step, {"processes": self._processes.count})

    def _plan(self, job: str, settings: Mapping[str, Any]) -> Plan:
        counts = {
            "samples": len(self._order.samples),
            "validation_samples": 0 if self._validation is None else len(self._validation),
        }
        return Plan(
            verb="train",
            inputs=(),
            config={"job": job, "training": plain(self._config), "recipe": plain(dict(settings))},
            method=counts | plain(dict(self._recipe.describe())),
            seed=self._config.seed,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "networks": self._networks.state_dict(),
            "averages": self._averages.state_dict(),
            "scale": self._processes.scale_state(),
            "watch": self._stepper.watch.state_dict(),
            "rule": self._stepper.rule.state_dict(),
            "means": self._means.state_dict(),
            "best": self._best,
        }

    def _take_up(self, state: Mapping[str, Any]) -> None:
        # of a state that is not the newest, a best one may have been superseded and removed since
        kept = set(self._folder.checkpoints.steps())
        self._step, self._best = state["step"], [best for best in state["best"] if best[1] in kept]
        self._take_weights(state)
        self._processes.load_scale_state(state["scale"])
        self._stepper.watch.load_state_dict(state["watch"])
        self._stepper.rule.load_state_dict(state["rule"])
        self._means.load_state_dict(state["means"])

    def _take_weights(self, state: Mapping[str, Any]) -> None:
        self._networks.load_state_dict(state["networks"])
        self._averages.load_state_dict(state["averages"])

    # --- the loop

    def run(self) -> Outcome:
        """Take the steps that are left."""
        try:
            with self._stop:
                self._loop_with_workers()
            files = self._export()
        finally:
            self._networks.train({})  # nothing stays frozen
            if self._journal is not None:
                self._journal.close()
        return Outcome(
            steps=self._step,
            scores=self._scores,
            checkpoint=self._folder.checkpoints.path(self._step),
            best=self._best[0] if self._best else None,
            skipped=self._stepper.rule.skipped,
            rank=self._processes.rank,
            files=files,
        )

    def _loop_with_workers(self) -> None:
        """Run the loop, and tell the loss of a worker from the end of a job.

        Some schedulers tell every process to end, those that make samples too: their end shows in the midst of a step,
        and before or after this process is told.
        """
        try:
            self._loop()
        except (RuntimeError, WorkerLost) as error:
            lost = isinstance(error, WorkerLost) or "DataLoader worker" in str(error)
            if not lost or not self._stop.comes():
                raise
            reason = "stopped together with the processes that make samples; --resume goes on from the last checkpoint"
            raise Interrupted(reason) from error

    def _loop(self) -> None:
        parts = self._order.parts_of(self._processes.rank, start=self._step, stop=self._total)
        config = self._config
        batches = load(
            self._order.samples,
            parts,
            device=self._processes.device,
            workers=config.workers,
            prefetch=config.prefetch,
        )
        told = 0.0
        for step in range(self._step, self._total):
            with self._clock.waiting():
                batch = [next(batches) for _ in range(config.accumulate)]
            with self._clock.working():
                stopping = self._take(batch, step)
            if self._progress is not None and self._processes.rank == 0:
                now = time.monotonic()
                if now - told > _BETWEEN_PROGRESS or self._step == self._total:
                    self._progress("training", self._step, self._total)
                    told = now
            self._after()
            if stopping and self._step < self._total:
                self._save()
                raise Interrupted(f"stopped after step {self._step}; --resume goes on from there")

    def _take(self, batch: list[Batch], step: int) -> bool:
        """Take one step; return whether a process was asked to stop."""
        try:
            logs, stopping = self._stepper.take(batch, step)
        except Exploded as error:
            self._explain(error, step)
        self._averages.update(self._recipe.averages(step))
        self._step = step + 1
        self._means.add(logs)
        return stopping

    def _after(self) -> None:
        """Log, validate, show and save what is due after this step."""
        last = self._step == self._total

        def due(every: int) -> bool:
            return self._step % every == 0 or last

        if due(self._config.log_every):
            self._log()
        better = False
        if self._validation is not None and due(self._config.validate_every):
            better = self._validate(self._validation)
        if self._validation is not None and due(self._config.picture_every):
            self._show(self._validation)
        if better or due(self._config.checkpoint_every):
            self._save()

    def _log(self) -> None:
        means = self._means.take()
        if self._journal is not None:
            rates = {f"rate/{name}": rate for name, rate in self._networks.rates().items()}
            speed = self._clock.take(self._config.batch)
            if self._processes.device.type == "cuda":
                speed["memory_mib"] = torch.cuda.max_memory_allocated(self._processes.device) / 2**20
            epoch = (self._step - 1) // self._order.steps_per_epoch
            self._journal.tell(
                "train", self._step, {"epoch": epoch, **means, **rates, "skipped": self._stepper.rule.skipped, **speed}
            )

    def _validate(self, samples: Samples) -> bool:
        """Validate; return whether this is one of the best."""
        with self._evaluating():
            self._scores = validate(self._recipe, samples, self._processes, self._config)
        if self._journal is not None:
            self._journal.tell("validation", self._step, self._scores)
        name = self._recipe.monitor.removeprefix("-")
        if name not in self._scores:
            raise UsageError(f"the recipe monitors {name!r}, and its scores are {sorted(self._scores)}")
        score = self._scores[name]
        kept = self._best if math.isnan(score) else [*self._best, (score, self._step)]
        kept.sort(key=lambda best: best[0], reverse=not self._recipe.monitor.startswith("-"))
        self._best = kept[: self._config.keep_best]
        return any(step == self._step for _, step in self._best)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        self._align()
        with self._averages.in_place(), self._networks.evaluating():
            yield

    def _show(self, samples: Samples) -> None:
        if self._journal is None:
            return
        drawn = validation_draw(samples, 0, seed=self._config.seed)
        with self._averages.in_place(), self._networks.evaluating(), self._processes.autocast():
            for batch in load(samples, [[drawn]], device=self._processes.device):
                self._journal.show(self._step, self._recipe.pictures(batch))

    def _align(self) -> None:
        """Give all processes the running statistics of process 0, which a checkpoint holds."""
        self._processes.share(self._networks.running())
        with self._averages.in_place():
            self._processes.share(self._networks.running())

    def _save(self) -> None:
        if self._saved == self._step:
            return
        self._align()
        self._processes.first(self._write)
        self._saved = self._step

    def _write(self) -> None:
        checkpoints = self._folder.checkpoints
        checkpoints.save(self._step, self._state())
        checkpoints.prune(keep_last=self._config.keep_last, keep={step for _, step in self._best})

    def _explain(self, error: Exploded, step: int) -> NoReturn:
        """Write down what was in the batch whose loss exploded, and stop.

        Raises:
            ScanweaveError: Always.
        """
        losses = self._processes.gather(error.losses)
        facts = {
            "reason": error.reason,
            "loss_by_rank_and_part": [[str(loss) for loss in parts] for parts in losses],
            "samples": self._order.provenance(step),
        }
        path = self._processes.first(lambda: self._folder.write_provenance(step, facts))
        raise ScanweaveError(
            f"step {step}: {error.reason}",
            path=path,
            remedy="that file says what was in the batch; lower the learning rate, mend the data, or raise "
            "training.explode",
        )

    # --- the end

    def _export(self) -> tuple[Path, ...]:
        """Write finished weights of the last step, and of the best where validation chose one."""
        self._save()
        if self._processes.rank:
            return tuple(self._processes.first(list[Path]))
        return tuple(self._processes.first(self._exported))

    def _exported(self) -> list[Path]:
        folder = self._folder.weights
        folder.mkdir(exist_ok=True)
        files: list[Path] = []
        stems = ({"best": self._best[0][1]} if self._best else {}) | {"final": self._step}
        for stem, step in stems.items():
            self._take_weights(self._folder.checkpoints.load(step))
            with self._averages.in_place(), self._networks.evaluating():
                files += self._recipe.export(folder, stem)
        if not any(folder.iterdir()):
            folder.rmdir()
        return files
