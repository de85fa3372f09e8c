"""What ``DRDM_augment.py`` does, in its folders, under its names: one configuration in, ``Data/Aug_data`` out.

Its files hold what theirs do: float32 images and masks of one channel per class, without place; beside each copy, image
and mask as they are before the recovery, only diffused. Fields, which it never wrote, are ours: in mm, on the grid of
the source.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..deformation import Deformed, DiffusionConfig
from ..deformation.canvas import TRAINED_SIDE
from ..deformation.learned import DrdmMethod
from ..deformation.volumes import pull_volumes, unit_image
from ..errors import InputError
from ..interpolation.api import Progress
from ..io.published_drdm import (
    DrdmFolder,
    DrdmOptions,
    MadeName,
    as_published,
    patient_of,
    published_mask,
    read_config,
)
from ..plan import Plan, fingerprint, plain
from ..volume import Volume
from .deformation import DeformOptions, DeformOutcome, Kind, Layout, make_copies
from .deformation_cases import Case, read_volume, slice_of
from .inputs import ReadOptions

_EVERYONE = range(1, 101)
_VELOCITY = DiffusionConfig().velocity


class PublishedLayout(Layout):
    """Folders and names of ``Data/Aug_data/{name}``.

    Args:
        root: The folder that holds ``Data``.
        options: What the configuration says.
        names: Patient and number of each case, by its stem.
        method: Makes the copies.
        how: How they are made.
    """

    def __init__(
        self, root: Path, options: DrdmOptions, names: dict[str, MadeName], *, method: DrdmMethod, how: DeformOptions
    ) -> None:
        paths = (options.aug_img_savepath, options.aug_msk_savepath, options.aug_ddf_savepath)
        common = Path(os.path.commonpath(paths)) if len(set(paths)) > 1 else Path(paths[0]).parent
        super().__init__(root / common)
        image, label, field = (Path(path).relative_to(common).as_posix() for path in paths)
        self._folders: dict[Kind, str] = {"image": image, "label": label, "field": field}
        self._names, self._method, self._how = names, method, how

    def name(self, case: Case, copy: int, kind: Kind, number: int = 0) -> str:
        """Return the name of a file below the root."""
        return self._named(case, copy, kind)

    def _named(self, case: Case, copy: int, kind: Kind, *, noised: bool = False) -> str:
        made = self._names[case.stem]
        made = replace(made, copy=copy, level=(case.levels or ())[copy], label=kind == "label", noised=noised)
        return f"{self._folders[kind]}/{made.file}"

    def image(self, volume: Volume) -> Volume:
        """Return an image as it is written: float32, without place."""
        return as_published(volume)

    def label(self, volume: Volume) -> Volume:
        """Return labels as they are written: a slice has a channel for each class."""
        return published_mask(volume) if volume.grid.shape[0] == 1 else as_published(volume)

    def originals(self, case: Case) -> dict[str, Volume]:
        """Return image and labels themselves, which are written beside their copies."""
        plain_name = self._names[case.stem]
        found = {f"{self._folders['image']}/{plain_name.file}": self.image(case.image)}
        for label in case.labels:
            found[f"{self._folders['label']}/{replace(plain_name, label=True).file}"] = self.label(label)
        return found

    def beside(self, case: Case, copy: Deformed, number: int) -> dict[str, tuple[str, Volume]]:
        """Return image and labels as the random field deforms them that the network began with."""
        (field,) = self._method.diffused([copy.params], case.image.grid, unit_image(case.image))
        how = self._how
        (image,), (label,) = pull_volumes(field, [case.image], case.labels, rule=how.label_rule, beyond=how.beyond)
        return {
            "diffused": (self._named(case, number, "image", noised=True), self.image(image)),
            "diffused_label": (self._named(case, number, "label", noised=True), self.label(label)),
        }


def deform_published(
    config: Path,
    *,
    root: Path | None = None,
    options: DeformOptions | None = None,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> DeformOutcome:
    """Augment as a published configuration says; the weights are those of its ``models`` unless `options` name some.

    Args:
        config: ``Config/config_*.yaml``.
        root: The folder that outputs go into; by default the one that holds ``Config``.
        options: Seed, preset and the like; number of copies and levels are the configuration's.
        reading: How images and labels are read.
        overwrite: Replace what an earlier run left.
        resume: Keep the copies of an interrupted run.
        progress: Told of each copy.

    Raises:
        InputError: Folders or files missing, or no patient of those that are listed.
    """
    found, folder = read_config(config), DrdmFolder(config.resolve().parent.parent)
    options, reading = options or DeformOptions(), reading or ReadOptions()
    targets = _targets(folder, found)
    if dict(options.options).get("weights") is None:
        weights = folder.weights(found.data_name, found.net_name, epoch=found.model_id_str)
        if not weights.is_file():
            raise InputError("does not exist", path=weights, remedy="give the weights with --weights")
        options = replace(options, options=(*options.options, ("weights", str(weights))))
    options = replace(options, method="drdm", n=found.aug_coe, options=_with_configured(options.options, found))
    method = cast(DrdmMethod, options.made())
    _refuse_other_weights(method, found, config)
    cases, names = _cases(targets, found, reading)
    files = [config, *(path for pair in targets for path in pair)]
    plan = Plan(
        verb="deform",
        inputs=tuple(fingerprint(path) for path in files),
        config=plain(options) | plain(reading) | {"published": found.model_dump(mode="json")},
        method=method.describe(),
        seed=options.seed,
    )
    place = folder.root if root is None else root
    layout = PublishedLayout(place, found, names, method=method, how=options)
    how: dict[str, Any] = {"method": method, "options": options, "plan": plan, "inputs": files}
    done = make_copies(cases, layout, **how, overwrite=overwrite, resume=resume, progress=progress)
    return DeformOutcome(str(config), layout.root, done, notes=done.notes)


def _with_configured(given: tuple[tuple[str, Any], ...], found: DrdmOptions) -> tuple[tuple[str, Any], ...]:
    """Return options of the method with those that a configuration changes: velocities and the side of the canvas."""
    options = dict(given)
    if found.v_scale != _VELOCITY:
        options["strength"] = (options.get("strength") or 1.0) * found.v_scale / _VELOCITY
    if found.img_size != TRAINED_SIDE[found.ndims] and options.get("side") is None:
        options["side"] = found.img_size
    return tuple(options.items())


def _refuse_other_weights(method: DrdmMethod, found: DrdmOptions, path: Path) -> None:
    """Refuse weights of another network than a configuration describes.

    Raises:
        InputError: They differ; the message says in what.
    """
    network, trained = method.network.config, method.trained
    pairs = {
        "ndims": (found.ndims, network.ndims),
        "num_input_chn": (found.num_input_chn, network.channels),
        "timesteps": (found.timesteps, network.steps),
    }
    if trained.stated and method.side in (None, found.img_size):  # another side was asked for beside the configuration
        pairs["img_size"] = (found.img_size, trained.side)
    wrong = [
        f"{name} is {said} there and {known} in the weights" for name, (said, known) in pairs.items() if said != known
    ]
    if wrong:
        raise InputError("; ".join(wrong), path=path, remedy="mend the configuration, or give its weights by --weights")


def _targets(folder: DrdmFolder, found: DrdmOptions) -> list[tuple[Path, Path]]:
    targets = folder.targets(found.data_name)
    if found.ndims == 3:
        return targets
    wanted = found.patients_list or _EVERYONE
    chosen = [(image, label) for image, label in targets if patient_of(label) in wanted]
    if not chosen:
        there = ", ".join(str(patient_of(label)) for _, label in targets)
        raise InputError(
            f"none of the patients listed is among those there: {there}",
            path=folder.config(found.data_name),
            remedy="mend patients_list; an empty one means 1 to 100",
        )
    return chosen


def _cases(
    targets: list[tuple[Path, Path]], found: DrdmOptions, reading: ReadOptions
) -> tuple[list[Case], dict[str, MadeName]]:
    """Return every image of the published loader: each slice in 2D, each volume in 3D; and what it is called."""
    cases: list[Case] = []
    names: dict[str, MadeName] = {}
    for image_file, label_file in targets:
        image, label = read_volume((image_file,), reading), read_volume((label_file,), reading)
        if label.shape != image.shape:
            raise InputError(f"is of shape {label.shape}, its image of {image.shape}", path=label_file)
        flat = found.ndims == 2
        for index in range(image.grid.shape[0]) if flat else (None,):
            number = len(cases)
            name = MadeName(patient_of(label_file) if flat else number, number)
            pair = (image, label) if index is None else (slice_of(image, index), slice_of(label, index))
            cases.append(Case(str(name), pair[0], (pair[1],), found.start_levels, number))
            names[str(name)] = name
    return cases, names
