"""``scanweave train JOB --config FILE --training.steps 1000 -o OUTPUT``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import InputError, UsageError
from ..plan import plain
from ..training import Outcome, RecipeEntry, TrainingConfig
from ..training import train as run
from ..training.settings import build, commented_yaml, read_settings, refuse_unknown_options
from .common import Meter, parse, print_json
from .warned import network_warnings

HOMES = (
    "scanweave.deformation.recipe",
    "scanweave.fusion.recipe",
    "scanweave.interpolation.recipe",
    "scanweave.synthesis.recipe",
)
"""Where the jobs list what they can train, as ``RECIPES``; shipped configurations lie beside, in ``recipes/``."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a network on your own data: every option below, or in a YAML file, or both.

    Options of the engine are called --training.NAME, those of what is trained --recipe.NAME. Research use only.
    """

    config: str | None = None
    """YAML file with the sections training and recipe; or the name of a shipped one; or the plan.json of a training,
    to train the same again."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="OUTPUT")] = None
    """Folder for weights, checkpoints, log and plan."""

    resume: bool = False
    """Go on from the newest checkpoint in OUTPUT, if there is one; without --config, by the plan there."""

    overwrite: bool = False
    """Remove the training that is in OUTPUT, and start again."""

    print_config: bool = False
    """Print the resolved configuration as commented YAML, and train nothing."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    entries = _entries()
    if not args or args[0].startswith("-"):
        if set(args) & {"-h", "--help"}:
            print(_overview(entries))
            return 0
        raise UsageError("nothing to train is named", remedy=f"choose one of {', '.join(entries)}")
    job, *rest = args
    if job not in entries:
        raise UsageError(f"nothing to train is called {job!r}", remedy=f"choose one of {', '.join(entries)}")
    command = _parsed(job, entries[job], rest)
    if command.print_config:
        print(f"# scanweave train {job} --config FILE -o OUTPUT\n")
        print(commented_yaml({"job": job, "training": command.training, "recipe": command.recipe}), end="")
        return 0
    if command.output is None:
        raise UsageError("nothing says where to", remedy="give a folder with -o")
    with network_warnings(), Meter(silent=command.json) as meter:
        outcome = run(
            entries[job].build(command.recipe),
            command.training,
            command.output,
            job=job,
            settings=plain(command.recipe),
            resume=command.resume,
            overwrite=command.overwrite,
            progress=meter,
        )
    if outcome.rank == 0:
        _tell(outcome, as_json=command.json)
    return 0


def _entries() -> dict[str, RecipeEntry]:
    return {name: entry for home in HOMES for name, entry in importlib.import_module(home).RECIPES.items()}


def _overview(entries: dict[str, RecipeEntry]) -> str:
    width = max(map(len, entries), default=0)
    return "\n".join(
        [
            "usage: scanweave train JOB [--config FILE] [--training.NAME VALUE] [--recipe.NAME VALUE] -o OUTPUT",
            "",
            *(f"  {name:<{width}}  {entry.summary}" for name, entry in entries.items()),
            "",
            f"shipped configurations: {', '.join(sorted(_shipped()))}",
            "scanweave train JOB --help tells every option; --print-config writes them into a file with comments.",
        ]
    )


def _parsed(job: str, entry: RecipeEntry, args: Sequence[str]) -> Any:
    """Parse the command line over the configuration file that it names."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--config")
    peek.add_argument("-o", "--output")
    peek.add_argument("--resume", action="store_true")
    try:
        early, _ = peek.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise UsageError(str(error), remedy=f"see scanweave train {job} --help") from error
    settings: dict[str, Any] = {}
    if early.config is not None:
        settings = read_settings(_located(early.config))
    elif early.resume and early.output is not None and (Path(early.output) / "plan.json").is_file():
        settings = read_settings(Path(early.output) / "plan.json")
    if settings.get("job", job) != job:
        raise UsageError(f"is of {settings['job']!r}, not of {job!r}", path=early.config)
    training = build(TrainingConfig, settings.get("training", {}), section="training")
    recipe = build(entry.config, settings.get("recipe", {}), section="recipe")
    kind = dataclasses.make_dataclass(
        "Train",
        [
            ("training", TrainingConfig, training),
            ("recipe", entry.config, dataclasses.field(default_factory=lambda: recipe)),
        ],
        bases=(Train,),
        frozen=True,
        kw_only=True,
    )
    kind.__doc__ = Train.__doc__
    refuse_unknown_options(args, {"training": TrainingConfig, "recipe": entry.config})
    return parse(kind, args, prog=f"train {job}", markers=())


def _shipped() -> dict[str, Traversable]:
    """Return the configurations that come with scanweave, by name."""
    folders = [files(home.rpartition(".")[0]) / "recipes" for home in HOMES]
    return {
        item.name.removesuffix(".yaml"): item
        for folder in folders
        if folder.is_dir()
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    }


def _located(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    shipped = _shipped()
    if name not in shipped:
        raise InputError(
            "there is no such file, and no configuration of that name comes with scanweave",
            path=name,
            remedy=f"give a file, or one of {', '.join(sorted(shipped))}",
        )
    return Path(str(shipped[name]))


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
        return
    scores = ", ".join(f"{name} {value:.4g}" for name, value in outcome.scores.items())
    print(f"{outcome.steps} steps{f'; {scores}' if scores else ''}")
    for path in (*outcome.files, outcome.checkpoint):
        print(f"  {path}")
