"""XFusion's configuration file ``xfusion.conf``, and the words of its command line, read without running anything.

::

    [inference]
    # opt = .
    model_file = ~/xfusion/models/net_g_latest.pth
    case_list = case 1, case 2

The published program lays its file open to every command: one that is run resets what others had set, and an option of
one name in two sections, such as ``opt``, is taken from the last. Here each section keeps its own, and nothing is
written back.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from .published_conf_options import OPTIONS, SECTIONS, Option, option_of, options_of

COMMANDS = ("init", *(name for name in SECTIONS if name not in ("general", "home")))
_SHARED = ("general", "home")
_LARGEST = 1 << 20  # bytes: a file has about 150 short lines


@dataclass(frozen=True, kw_only=True)
class Conf:
    """What a configuration file and a command line say.

    Attributes:
        values: Every option of this model and kind of data, by section and name; defaults where nothing is said.
        stated: Those that the file or the command line states.
        command: The published command that was given, if any.
        notes: What is odd about spellings and sections, one sentence each.
    """

    values: Mapping[tuple[str, str], Any]
    stated: frozenset[tuple[str, str]]
    command: str | None
    notes: tuple[str, ...]

    @property
    def model(self) -> str:
        """``EDVRModel`` or ``SwinIRModel``."""
        return str(self.values["general", "model_type"])

    @property
    def data(self) -> str:
        """``virtual`` or ``actual``."""
        return str(self.values["general", "data_type"])

    def get(self, section: str, name: str) -> Any:
        """Return a value; None for a text that says nothing: empty, ``none`` or ``.``; and for options of others."""
        value = self.values.get((section, name))
        return None if isinstance(value, str) and value.lower() in ("", "none", ".") else value

    def path(self, section: str, name: str) -> Path | None:
        """Return the value of a file or folder, the home directory filled in."""
        value = self.get(section, name)
        return None if value is None else Path(value).expanduser()

    def changed(self, section: str) -> dict[str, Any]:
        """Return the options of a section whose values are not the defaults."""
        usual = options_of(self.model, self.data)
        return {
            name: value
            for (place, name), value in self.values.items()
            if place == section and value != usual[place, name].usual()
        }


def read_conf(path: Path | None, words: Sequence[str] = ()) -> Conf:
    """Read a configuration file, and what is said on the published command line over it.

    Args:
        path: The file; None for one that ``xfusion init`` would write.
        words: The command and its options, such as ``inference --img-class dataset1``.

    Raises:
        InputError: The file is missing, or no configuration file.
        UsageError: An option that does not exist (the nearest is named), or a value of another type.
    """
    notes: list[str] = []
    try:
        said = {} if path is None else dict(_named(_file(path), notes))
    except UsageError as error:
        error.path = error.path or str(path)
        raise
    command, spoken = _spoken(words, notes)
    said |= spoken
    kinds = {name: _value(said, "general", name) for name in ("model_type", "data_type")}
    options = options_of(kinds["model_type"], kinds["data_type"])
    for section, name in [key for key in said if key not in options]:
        only = " or ".join(dict.fromkeys(one.only for one in OPTIONS if (one.section, one.name) == (section, name)))
        if (section, name) in spoken:
            raise UsageError(
                f"{name} is an option of {only} only", remedy="say so: --data_type actual, or --model_type"
            )
        notes.append(f"{name} in [{section}] does nothing: it is an option of {only} only.")
        del said[section, name]
    values = {key: _value(said, *key) if key in said else option.usual() for key, option in options.items()}
    notes += _contradictions(values, said)
    return Conf(values=values, stated=frozenset(said), command=command, notes=tuple(dict.fromkeys(notes)))


def _file(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and text of every line."""
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), empty_lines_in_values=False, default_section="\n"
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        if path.expanduser().stat().st_size > _LARGEST:
            raise InputError("is far too large for a configuration file", path=path)
        parser.read_string(path.expanduser().read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the name") from error
    except (UnicodeDecodeError, configparser.Error) as error:
        raise InputError(
            f"is no configuration file: {error}", path=path, remedy="it has sections such as [train], and name = value"
        ) from error
    for section in parser.sections():
        for name, text in parser.items(section):
            yield section, name, text


def _named(lines: Iterator[tuple[str, str, str]], notes: list[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield option and text; spellings are noted."""
    seen: dict[tuple[str, str], str] = {}
    for section, name, text in lines:
        if section not in SECTIONS:
            raise UsageError(f"there is no section [{section}]", remedy=f"there are {', '.join(SECTIONS)}")
        option, note = option_of(section, name)
        key = (section, option.name)
        if key in seen:
            raise UsageError(f"[{section}] states {option.name} twice, as {seen[key]} and {name}")
        seen[key] = name
        if note:
            notes.append(note)
        yield key, text


def _spoken(words: Sequence[str], notes: list[str]) -> tuple[str | None, dict[tuple[str, str], str]]:
    """Return the command that words begin with, and the texts of its options."""
    if not words:
        return None, {}
    command, *rest = words
    if command not in COMMANDS:
        raise UsageError(f"the published program has no command {command!r}", remedy=f"it has {', '.join(COMMANDS)}")
    said: dict[tuple[str, str], str] = {}
    while rest:
        name, equals, text = rest.pop(0).partition("=")
        if not name.startswith("--"):
            raise UsageError(f"{name!r} belongs to no option", remedy="values with spaces stand in quotes")
        option, note = _of_command(command, name.removeprefix("--"))
        values = [text] if equals else []
        while not equals and rest and not rest[0].startswith("--") and (option.is_list or not values):
            if option.flag:
                break
            values.append(rest.pop(0))
        if not values and not option.flag:
            raise UsageError(f"{name} has no value")
        if note:
            notes.append(note)
        said[option.section, option.name] = ",".join(values) if values else "True"
    return command, said


def _of_command(command: str, name: str) -> tuple[Option, str]:
    """Return an option that a command has."""
    for section in _SHARED:
        if any((one.section, one.name) == (section, name) for one in OPTIONS):
            return option_of(section, name)
    return option_of(command if command != "init" else "general", name)


def _value(said: Mapping[tuple[str, str], str], section: str, name: str) -> Any:
    option, _ = option_of(section, name)
    return option.read(said[section, name]) if (section, name) in said else option.usual()


def _contradictions(values: Mapping[tuple[str, str], Any], said: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield what of the file the published program would mix up."""
    for section, name in said:
        last = [place for place in SECTIONS if (place, name) in said][-1]
        if section != last and values[section, name] != values[last, name]:
            yield (
                f"{name} is {values[section, name]} in [{section}] and {values[last, name]} in [{last}]: the published"
                " program takes the latter for both, here each section keeps its own."
            )
