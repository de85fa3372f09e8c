"""Uni-COAL's published configuration files, and the words that follow them, as configurations of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..io.files import atomic_output, check_output
from ..synthesis.published_config import parse_command, read_published
from ..synthesis.recipe import UniCoalRecipeConfig
from ..training.config import TrainingConfig
from ..training.settings import build, commented_yaml


@dataclass(frozen=True)
class Translated:
    """What was written.

    Attributes:
        output: The file.
        notes: What of the published file is done otherwise or does nothing, one sentence each.
    """

    output: Path
    notes: tuple[str, ...]


def translate_training(
    words: Sequence[str],
    output: Path,
    *,
    as_published: bool = False,
    sam: Path | None = None,
    overwrite: bool = False,
) -> Translated:
    """Write what ``python train.py WORDS`` would train as a file for ``scanweave train uni-coal --config``.

    Args:
        words: Such as ``--config-file final.yml --model unicoal optimizer.lr_G 0.00125``.
        output: The file to write.
        as_published: Leave known faults of the recipe in.
        sam: File of SAM's weights, where the recipe is guided by them.
        overwrite: Replace a file that exists.

    Raises:
        InputError: A file cannot be read.
        UsageError: Options that do not exist, contradict each other, or cannot be had here.
        OutputError: The file cannot be written.
    """
    command = parse_command(words)
    check_output(output, [command.config_file], overwrite=overwrite)
    published = read_published(command.config_file, command.overrides)
    translation = published.training(as_published=as_published, sam=sam)
    settings = {**translation.settings["training"], "processes": command.processes}
    training = build(TrainingConfig, settings, section="training")
    recipe = build(UniCoalRecipeConfig, translation.settings["recipe"], section="recipe")
    ignored = {**command.idle, **published.idle}
    notes = [*translation.notes, *(f"{name} does nothing: {why}." for name, why in ignored.items())]
    head = [f"# {command.config_file.name} of Uni-COAL, translated", *(f"# {note}" for note in notes)]
    text = commented_yaml({"job": "uni-coal", "training": training, "recipe": recipe})
    with atomic_output(output) as place:
        place.write_text("\n".join(head) + "\n" + text, encoding="utf-8")
    return Translated(output, tuple(notes))
