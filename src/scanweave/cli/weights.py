"""``scanweave weights list|info|convert|verify|export``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro
from rich.table import Table

from .. import weights
from ..errors import ScanweaveError, UsageError
from ..io.files import check_output
from .common import Output, Terminal, given, parse, print_json
from .warned import network_warnings

Files = tyro.conf.Positional[tuple[Path, ...]]
File = tyro.conf.Positional[Path]


@dataclass(frozen=True, kw_only=True)
class _Every:
    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class _Reading(_Every):
    name: str | None = None
    """The network that the weights must be of; recognised if not given."""

    warp_convention: Literal["corner", "half_pixel", "exact"] | None = None
    """Where the flows of super-slomo point, over what the file's provenance decides."""

    mean: tuple[float, float, float] | None = None
    """Mean red, green and blue that super-slomo subtracts, over what the file's provenance decides."""

    def config(self) -> dict[str, object]:
        """Return what was given of the network's config."""
        both = {"warp_convention": self.warp_convention, "mean": self.mean}
        return {name: value for name, value in both.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class List(_Every):
    """List the weights that come with scanweave and those in the user's folder ($SCANWEAVE_HOME/weights)."""


@dataclass(frozen=True, kw_only=True)
class Info(_Reading):
    """Say what is in files of weights: network, provenance and what it decided, config, card, what does not fit."""

    files: Files = ()
    """Files of weights, or names in the user's folder."""


@dataclass(frozen=True, kw_only=True)
class Verify(_Reading):
    """Load files of weights strictly and make frames of noise with them; exit code 6 if one is not sound."""

    files: Files = ()
    """Files of weights, or names in the user's folder."""


@dataclass(frozen=True, kw_only=True)
class Convert(_Reading):
    """Write weights as safetensors with config and card, or back in their authors' layout."""

    file: File
    """File of weights, or a name in the user's folder."""

    output: Output
    """File to write."""

    to: Literal["safetensors", "published"] = "safetensors"
    """What to write: safetensors of ours, or the authors' layout for their programs."""

    overwrite: bool = False
    """Replace an output that exists; an input is never overwritten."""


@dataclass(frozen=True, kw_only=True)
class Export(_Reading):
    """Write a network for other runtimes; frame sides and times stay open."""

    file: File
    """File of weights, or a name in the user's folder."""

    output: Output
    """File to write."""

    format: Literal["onnx"] = "onnx"
    """What to write."""

    overwrite: bool = False
    """Replace an output that exists; an input is never overwritten."""


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(cast(Any, Command), args, prog="weights")
    run: Callable[[Any], int] = _RUN[type(command)]
    with network_warnings(silent=isinstance(command, Info)):
        return run(command)


def _list(command: List) -> int:
    rows = [_row(path) for path in weights.listed()]
    if command.json:
        print_json(rows)
        return 0
    if rows:
        table = Table(box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column, overflow="fold")  # a name that was cut could not be given to --weights
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        Terminal(highlight=False).print(table, markup=False)
    print(f"files of weights of your own go into {weights.home() / 'weights'}")
    return 0


def _row(path: Path) -> dict[str, Any]:
    try:
        card, problem = weights.read_card(path), None
    except ScanweaveError as error:
        card, problem = None, error.reason
    return {
        "name": path.name,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "network": card.network if card else None,
        "origin": card.origin if card else problem or "as published: `scanweave weights info` reads it",
        "folder": str(path.parent),
    }


def _info(command: Info) -> int:
    answers = [_facts(weights.find(path), command) for path in given(command.files)]
    if command.json:
        print_json(answers if len(answers) > 1 else answers[0])
    else:
        for answer in answers:
            _print(answer)
    return 0


def _facts(path: Path, command: Info) -> dict[str, Any]:
    content = weights.read_content(path)
    found = weights.examine(content, name=command.name, config=command.config())
    tensors = [tensor for tensor in found.state.values() if tensor.is_floating_point()]
    return {
        "file": str(path),
        "network": found.card.network,
        "container": found.kind,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "sha256": content.sha256,
        "tensors": len(found.state),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "problem": found.problem,
        "missing": found.missing,
        "unexpected": found.unexpected,
        "misshapen": found.misshapen,
        "unsound": found.unsound,
        "card": found.card.model_dump(mode="json"),
    }


def _print(answer: dict[str, Any]) -> None:
    console = Terminal(highlight=False)
    console.print(answer["file"], style="bold", markup=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    card = answer["card"]
    shown = ("network", "container", "megabytes", "sha256", "tensors", "parameters", "problem")
    facts = {name: answer[name] for name in shown}
    facts |= {name.replace("_", " "): card[name] for name in ("origin", "licence", "intended_use", "input_range")}
    facts["trained times"] = card["trained_times"]
    facts |= {name: value for name, value in card["config"].items() if name not in card["decisions"]}
    for name, decision in card["decisions"].items():
        facts[name] = f"{decision['value']} ({'' if decision['sure'] else 'unsure: '}{decision['why']})"
    facts |= {name: _brief(value) for name, value in card["training"].items()}
    for name, value in facts.items():
        if value not in (None, "", [], ()):
            table.add_row(name, str(value))
    console.print(table, markup=False)
    for note in card["notes"]:
        console.print(f"note: {note}", markup=False)


def _brief(value: Any) -> str:
    """Return a fact of the training; of a history its length and its last entry."""
    if not isinstance(value, list) or len(value) < 2:
        return str(value)
    return f"{len(value)} epochs, the last {value[-1]}"


def _verify(command: Verify) -> int:
    outcomes = [_outcome(path, command) for path in given(command.files)]
    if command.json:
        print_json(outcomes if len(outcomes) > 1 else outcomes[0])
    for outcome in outcomes:
        if outcome["error"] is not None:
            print(f"scanweave: error: {outcome['error']}", file=sys.stderr)
        elif not command.json:
            print(f"{outcome['file']}: sound weights of {outcome['network']}")
    return next((int(outcome["exit_code"]) for outcome in outcomes if outcome["exit_code"]), 0)


def _outcome(reference: Path, command: Verify) -> dict[str, Any]:
    outcome: dict[str, Any] = {"file": str(reference), "network": None, "error": None, "exit_code": 0}
    try:
        path = weights.find(reference)
        model = weights.open(command.name, path, **command.config())
        outcome["network"] = weights.card_of(model).network
        try:
            weights.try_out(model)
        except ScanweaveError as error:
            error.path = str(path)
            raise
    except ScanweaveError as error:
        outcome |= {"error": str(error), "exit_code": error.exit_code}
    return outcome


def _convert(command: Convert) -> int:
    source = weights.find(command.file)
    if command.to == "safetensors" and command.output.suffix.lower() != ".safetensors":
        remedy = "name it OUTPUT.safetensors, or add --to published"
        raise UsageError("safetensors have their own suffix", path=command.output, remedy=remedy)
    check_output(command.output, [source], overwrite=command.overwrite)
    model = weights.open(command.name, source, **command.config())
    if command.to == "published":
        weights.export_published(weights.card_of(model).network, model, command.output)
    else:
        weights.save(model, command.output)
    return _written(command.output, command)


def _export(command: Export) -> int:
    source = weights.find(command.file)
    check_output(command.output, [source], overwrite=command.overwrite)
    weights.export_onnx(weights.open(command.name, source, **command.config()), command.output)
    return _written(command.output, command)


def _written(path: Path, command: _Every) -> int:
    print_json({"output": str(path)}) if command.json else print(f"wrote {path}")
    return 0


_RUN: dict[type, Callable[[Any], int]] = {
    List: _list,
    Info: _info,
    Verify: _verify,
    Convert: _convert,
    Export: _export,
}
