"""Uni-COAL's published configuration files, read safely and translated to the recipe's options.

A file is YAML; ``_BASE_`` names another that it builds on, and words such as ``optimizer.lr_G 0.00125`` after the
command change single options::

    python train.py --config-file final.yml --model unicoal optimizer.lr_G 0.00125 optimizer.lr_D 0.001
    python evaluate.py --config-file translation_T1_T2.yml --model unicoal epoch latest

`read_published` takes that over; `Published.training` and `Published.evaluation` say it in our words, and what of it
is mended. Nothing of a file is ever run: Python's own tags are refused, save tuples.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, UsageError
from .published_options import OPTIONS, canonical, checked, option_of
from .published_recipe import Translation, evaluation_of, training_of
from .published_tasks import Task

_BASE = "_BASE_"
_FLAGS = {"--config-file": 1, "--model": 1, "--num-gpus": 1, "--manual-seed": 1, "--eval-only": 0}
_MODEL = "unicoal"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a published configuration says.

    Attributes:
        path: The file.
        options: Every published option that has an effect, by dotted name, defaults included.
        idle: Options that a file or the command sets though they do nothing, and why.
    """

    path: Path
    options: Mapping[str, Any]
    idle: Mapping[str, str]

    def training(self, *, as_published: bool = False, sam: Path | None = None) -> Translation:
        """Return the training as our recipe's options: `published_recipe.training_of`, which tells the arguments.

        Raises:
            UsageError: Options contradict each other, or ask for what cannot be had here.
        """
        return training_of(self.options, as_published=as_published, sam=sam)

    def evaluation(self, *, as_published: bool = False) -> tuple[Task, tuple[str, ...]]:
        """Return the task that is evaluated, and what must be known of it: `published_recipe.evaluation_of`.

        Raises:
            UsageError: The options name no single task.
        """
        return evaluation_of(self.options, name=self.path.stem, as_published=as_published)

    @property
    def folder(self) -> Path:
        """Where checkpoints and results of the published program lie."""
        return Path(self.options["checkpoints_dir"]) / (self.options["name"] or self.path.stem)

    @property
    def tag(self) -> str:
        """Which checkpoint: ``latest``, ``best``, an epoch, or ``iter_<n>``."""
        iteration = self.options["load_iter"]
        return f"iter_{iteration}" if iteration else str(self.options["epoch"] or "latest")

    @property
    def generator(self) -> Path:
        """The file of the generator that is evaluated: that of the average weights."""
        return self.folder / f"{self.tag}_net_G_ema.pth"

    @property
    def critic(self) -> Path:
        """The file of the critic; only training needs it."""
        return self.folder / f"{self.tag}_net_D.pth"


@dataclass(frozen=True, kw_only=True)
class PublishedCommand:
    """The words after ``python train.py`` or ``python evaluate.py``.

    Attributes:
        config_file: After ``--config-file``.
        overrides: Options and their values, in order.
        processes: After ``--num-gpus``.
        idle: Flags that do nothing, and why.
    """

    config_file: Path
    overrides: tuple[tuple[str, Any], ...] = ()
    processes: int = 1
    idle: Mapping[str, str] = field(default_factory=dict)


def read_published(path: Path, overrides: Sequence[tuple[str, Any]] = ()) -> Published:
    """Read a published configuration file, and those that it builds on.

    Args:
        path: The file.
        overrides: Options and values that replace those of the file, as `parse_overrides` gives them.

    Raises:
        InputError: A file is missing, damaged, holds other objects than plain values, or builds on itself.
        UsageError: An option that does not exist (the nearest is told), a value of another type, or one that cannot
            be had here (why is told).
    """
    given = dict(_flat(path, ()))
    given |= {canonical(name): value for name, value in overrides}
    told = {name: option.default for name, option in OPTIONS.items() if option.fate != "idle"}
    idle = {}
    try:
        for name, value in given.items():
            option = option_of(name)
            if option.fate == "idle":
                idle[name] = option.why
            else:
                told[name] = checked(name, value)
        _require_tag(told["epoch"])
    except UsageError as error:
        error.path = error.path or str(path)
        raise
    return Published(path=path, options=told, idle=idle)


def parse_command(words: Sequence[str]) -> PublishedCommand:
    """Return what the words after ``python train.py`` or ``python evaluate.py`` say.

    Raises:
        UsageError: No configuration file, an unknown flag, another model, or an option without a value.

    Example:
        >>> parse_command(["--config-file", "final.yml", "--model", "unicoal", "epoch", "latest"]).overrides
        (('epoch', 'latest'),)
    """
    flags: dict[str, str] = {}
    left = list(words)
    while left and left[0].startswith("--"):
        name, equals, value = left.pop(0).partition("=")
        if name not in _FLAGS:
            raise UsageError(f"the published programs have no {name}", remedy=f"they have {', '.join(_FLAGS)}")
        if _FLAGS[name] and not equals:
            if not left:
                raise UsageError(f"{name} has no value")
            value = left.pop(0)
        flags[name] = value
    if "--config-file" not in flags:
        raise UsageError("no configuration file is named", remedy="add --config-file FILE.yml")
    if flags.get("--model", _MODEL) != _MODEL:
        raise UsageError(
            f"--model {flags['--model']} is one of the authors' comparisons, which are not part of scanweave",
            remedy="give --model unicoal",
        )
    processes = flags.get("--num-gpus", "1")
    if not processes.isdecimal() or int(processes) < 1:
        raise UsageError(f"--num-gpus {processes} is no number of processes", remedy="give 1 or more")
    ignored: tuple[str, ...] = ("--manual-seed", "--eval-only")
    idle = {name: "the published program ignores it" for name in ignored if name in flags}
    return PublishedCommand(
        config_file=Path(flags["--config-file"]),
        overrides=parse_overrides(left),
        processes=int(processes),
        idle=idle,
    )


def parse_overrides(words: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Return words ``KEY VALUE KEY VALUE`` as pairs; a value is read as Python writes it, and else is text.

    Raises:
        UsageError: The last option has no value.

    Example:
        >>> parse_overrides(["optimizer.lr_G", "0.00125", "loaders.thickness", "[4, 2]", "epoch", "latest"])
        (('optimizer.lr_G', 0.00125), ('loaders.thickness', [4, 2]), ('epoch', 'latest'))
    """
    if len(words) % 2:
        raise UsageError(f"{words[-1]} has no value", remedy="options come as KEY VALUE, such as epoch latest")
    return tuple((key, _decoded(value)) for key, value in zip(words[::2], words[1::2], strict=True))


class _Loader(yaml.SafeLoader):
    """YAML of plain values; tuples, which the published programs write with a tag of Python's, are lists."""


def _sequence(loader: yaml.SafeLoader, node: Any) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def _flat(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values of a file, those of what it builds on first."""
    resolved = path.expanduser().resolve()
    if resolved in above:
        chain = " -> ".join(one.name for one in (*above, resolved))
        raise InputError(f"builds on itself: {chain}", path=path, remedy=f"mend {_BASE}")
    content = _read(path, above)
    base = content.pop(_BASE, None)
    if base is not None:
        if not isinstance(base, str):
            raise InputError(f"{_BASE} is {base!r}, no file name", path=path)
        yield from _flat(path.parent / Path(base).expanduser(), (*above, resolved))
    for name, value in _leaves(content, ""):
        yield canonical(name), value


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        content = yaml.load(path.expanduser().read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        whose = f", which {above[-1].name} builds on" if above else ""
        raise InputError(
            f"cannot be read{whose}: {error.strerror or error}", path=path, remedy="check the name"
        ) from error
    except yaml.constructor.ConstructorError as error:
        raise InputError(
            f"holds more than plain values: {error.problem}", path=path, remedy="such files are never run; remove it"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"is no readable YAML: {error}", path=path) from error
    if not isinstance(content, dict):
        raise InputError("is no mapping of options", path=path, remedy="write lines such as `optimizer: {lr_G: 0.001}`")
    return content


def _leaves(content: Mapping[Any, Any], stem: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{stem}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        else:
            # YAML 1.1 takes 2e-4 for a word; the published programs read words as Python writes values
            yield name, _decoded(value) if isinstance(value, str) else value


def _decoded(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return word


def _require_tag(epoch: Any) -> None:
    number = isinstance(epoch, int) and not isinstance(epoch, bool) and epoch >= 0
    if not (number or epoch in (None, "latest", "best")):
        raise UsageError(f"epoch is {epoch!r}", remedy="give latest, best, or the number of an epoch")
