"""Options in files: commented YAML from dataclasses, and back with every unknown field refused.

A file has the sections ``training`` (`TrainingConfig`) and ``recipe`` (the job's own), and may name its ``job``, and
the file beside it that it changes in part (``base``). The ``plan.json`` of a training is such a file, too.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from ..errors import InputError, UsageError
from ..plan import plain

Config = TypeVar("Config")
_SECTIONS = ("job", "training", "recipe")
_BASE = "base"
_WIDTH = 100


def read_settings(path: Path) -> dict[str, Any]:
    """Read the sections of a YAML file, over those of the file that it names as its ``base``, or of a training's plan.

    Raises:
        InputError: The file cannot be read, is no mapping, or is based on itself.
        UsageError: It has another section.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        # JSON is nearly YAML: YAML 1.1 takes 1e-05 for a word
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the name") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"is no readable configuration: {error}", path=path) from error
    if isinstance(content, Mapping) and content.get("verb") == "train" and isinstance(content.get("config"), Mapping):
        content = content["config"]
    if not isinstance(content, Mapping):
        raise InputError("is no mapping", path=path, remedy="write the sections `training:` and `recipe:`")
    base = content.get(_BASE)
    for name in content:
        if name not in (*_SECTIONS, _BASE):
            raise UsageError(f"there is no section {name!r}{_nearest(str(name), _SECTIONS)}", path=path)
    own = {str(name): value for name, value in content.items() if value is not None and name != _BASE}
    if base is None:
        return own
    if path.resolve() in above:
        raise InputError("is based on itself", path=path, remedy="remove one of the lines `base:`")
    return _merged(_read(path.parent / str(base), (*above, path.resolve())), own)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `own` in place of its; mappings are merged field by field."""
    both = {
        name: _merged(base[name], value) if isinstance(value, Mapping) and isinstance(base[name], Mapping) else value
        for name, value in own.items()
        if name in base
    }
    return {**base, **own, **both}


def build(kind: type[Config], values: Any, *, section: str) -> Config:
    """Return the configuration of class `kind` that `values` describe; what they leave out keeps its default.

    Raises:
        UsageError: A field that does not exist, or a value that it cannot have, by name.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{section} is {values!r}, no mapping of fields")
    for name, known in _unknown(kind, values, section):
        raise UsageError(f"there is no field {name}{_nearest(name.rpartition('.')[2], known)}")
    try:
        config: Config = TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise UsageError(in_words(error, section=section)) from error
    return config


def in_words(error: ValidationError, *, section: str) -> str:
    """Return what is wrong with which fields, on one line."""
    return "; ".join(
        f"{'.'.join((section, *map(str, item['loc'])))}: {item['msg']}, got {item['input']!r}"
        for item in error.errors()
    )


def refuse_unknown_options(args: Sequence[str], sections: Mapping[str, type[Any]]) -> None:
    """Refuse command-line words such as ``--training.stepz`` that no field of the sections is called.

    Raises:
        UsageError: With the nearest field there is.
    """
    known = {name for section, kind in sections.items() for name in _names(kind, section)}
    for word in args:
        section, dot, _ = word.removeprefix("--").partition(".")
        if not word.startswith("--") or not dot or section not in sections:
            continue
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        parent, _, field = name.rpartition(".")
        if name not in known and f"{parent}.{field.removeprefix('no_')}" not in known:
            raise UsageError(f"there is no field {name}{_nearest(name, sorted(known))}")


def _names(kind: Any, section: str) -> Iterator[str]:
    """Yield the dotted names of all fields."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{section}.{field.name}"
        yield name
        for part in (hints[field.name], *get_args(hints[field.name])):
            if dataclasses.is_dataclass(part):
                yield from _names(part, name)


def commented_yaml(sections: Mapping[str, Any]) -> str:
    """Return dataclass instances as YAML, each field under what its docstring says; plain values as they are."""
    lines: list[str] = []
    for name, value in sections.items():
        lines += _entry(name, value, indent=0)
    return "\n".join(lines) + "\n"


def documentation(kind: type[Any]) -> dict[str, str]:
    """Return what the docstring under each field of a dataclass says, inherited fields included."""
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                told[field.target.id] = " ".join(str(text.value.value).split())
    return told


def _entry(name: str, value: Any, *, indent: int) -> list[str]:
    margin = " " * indent
    if not dataclasses.is_dataclass(value):
        simple = plain(value)
        if isinstance(simple, dict) and simple:
            text = yaml.safe_dump({name: simple}, sort_keys=False)
        else:
            text = f"{name}: " + yaml.safe_dump(simple, default_flow_style=True, width=10_000).removesuffix("...\n")
        return [margin + line for line in text.splitlines()]
    lines = [f"{margin}{name}:"]
    told = documentation(type(value))
    for field in dataclasses.fields(value):
        comment = textwrap.wrap(told.get(field.name, ""), _WIDTH - indent)
        lines += [f"{margin}  # {line}" for line in comment]
        lines += _entry(field.name, getattr(value, field.name), indent=indent + 2)
    return lines


def _unknown(kind: Any, values: Mapping[Any, Any], name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the dotted names of fields that do not exist, each with those that do."""
    hints = get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key, value in values.items():
        if key not in known:
            yield f"{name}.{key}", known
        elif isinstance(value, Mapping):
            kinds = [part for part in (hints[key], *get_args(hints[key])) if dataclasses.is_dataclass(part)]
            if len(kinds) == 1:
                yield from _unknown(kinds[0], value, f"{name}.{key}")


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(names)}"
