"""DRDM's published folders, file names and YAML, read and written.

::

    Data/Src_data/{name}/*                            training images, as the README has it; the programs look into
    Data/Src_data/CMR_processed_rmbg_resize/*         ... 2-D NIfTI, one slice per file
    Data/Src_data/CTLung_processed/*.npy              ... 3-D arrays (x, y, z)
    Data/Tgt_data/{cmr,lct}/Tr/*  and  Gt/*           images and labels to augment
    Data/Aug_data/{name}/{img,msk,ddf}/               outputs
    models/{name}_{net}/{epoch:06d}_{name}_{net}.pth  weights (the README has models/{name}-{net}/)
    Config/config_{name}.yaml                         options

Published programs pair images and labels by sorted order and open every file of a folder; here they are paired by name,
and a file without a partner is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..cine import Source
from ..errors import InputError, UsageError
from ..grid import Grid
from ..volume import Volume
from .common import natural
from .folders import list_folder
from .kinds import VOLUMES

SOURCE_FOLDERS = {"cmr": "CMR_processed_rmbg_resize", "lct": "CTLung_processed"}
"""Folder of `Src_data` that each data set's training images lie in."""
_LUNG: dict[str, Any] = {
    "ndims": 3,
    "img_size": 128,
    "padding_mode": "border",
    "resample_mode": "bilinear",
    "start_noise_step": 64,
    "noise_step": 1,
}
_WEIGHTS = re.compile(r"(\d{6})_(\w+)\.pth")
_LABEL = re.compile(r"[_-](gt|seg|label|labels|mask|msk)$", flags=re.IGNORECASE)
_MADE = re.compile(r"Patient(\d{4,})_Slice(\d{6,})_(?:ORG_NA|(Aug|Noise)Img(\d{4,})_NoiseStep(\d{4,}))(_GT)?")
_SUFFIX = re.compile(r"(\.nii)?\.\w+$", flags=re.IGNORECASE)

Padding = Literal["zeros", "border", "reflection"]


class DrdmOptions(BaseModel):
    """All options of ``Config/config_*.yaml``; what a file leaves out is as in the published one of its `data_name`.

    Attributes:
        data_name: Names loader and folders: ``cmr`` or ``lct``.
        net_name: Only ``recresacnet`` exists.
        ndims: Dimensions of the images.
        img_size: Side of the square or cube.
        batchsize: Images of a training step; augmentation takes one.
        num_input_chn: Channels; training ignores it and takes 1.
        timesteps: Levels of noise, and steps of recovery.
        v_scale: Standard deviation of the finest velocity scale, a fraction of the control grid.
        ddf_pad_mode: What lies beyond the border of fields while they are integrated (augmentation only).
        padding_mode: What lies beyond it when fields are warped.
        img_pad_mode: What lies beyond it when images and masks are warped.
        resample_mode: Interpolation of images *and masks* in augmentation.
        device: Where the network runs.
        epoch: Epochs of training.
        epoch_per_save: Epochs from a checkpoint to the next.
        lr: Learning rate.
        noise_scale: Strength of the noise on training images.
        patients_list: Patient numbers to augment; none means 1 to 100 (cardiac only).
        model_id_str: Six digits that the name of the weights starts with.
        start_noise_step: First level of augmentation.
        noise_step: From a level to the next.
        aug_coe: Copies of each image.
        aug_img_savepath: Where images go.
        aug_msk_savepath: Where masks go.
        aug_ddf_savepath: Where fields should go; the published program makes the folder and leaves it empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_name: str = "cmr"
    net_name: Literal["recresacnet"] = "recresacnet"
    ndims: Literal[2, 3] = 2
    img_size: Annotated[int, Field(gt=0)] = 256
    batchsize: Annotated[int, Field(gt=0)] = 1
    num_input_chn: Annotated[int, Field(gt=0)] = 1
    timesteps: Annotated[int, Field(gt=0)] = 80
    v_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4e-5
    ddf_pad_mode: Padding = "border"
    padding_mode: Padding = "zeros"
    img_pad_mode: Padding = "zeros"
    resample_mode: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    device: str = "cuda"
    epoch: Annotated[int, Field(ge=0)] = 10000
    epoch_per_save: Annotated[int, Field(gt=0)] = 1
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    noise_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    patients_list: tuple[int, ...] = ()
    model_id_str: Annotated[str, Field(pattern=r"^\d{6}$")] = "000000"
    start_noise_step: Annotated[int, Field(ge=0)] = 48
    noise_step: Annotated[int, Field(ge=0)] = 2
    aug_coe: Annotated[int, Field(gt=0)] = 32
    aug_img_savepath: str = "Data/Aug_data/cmr/img"
    aug_msk_savepath: str = "Data/Aug_data/cmr/msk"
    aug_ddf_savepath: str = "Data/Aug_data/cmr/ddf"

    @field_validator("model_id_str", mode="before")
    @classmethod
    def _digits(cls, found: Any) -> Any:
        return f"{found:06d}" if isinstance(found, int) and not isinstance(found, bool) else found

    @field_validator("v_scale", "lr", "noise_scale", mode="before")
    @classmethod
    def _yaml_number(cls, found: Any) -> Any:
        """YAML 1.1 takes ``4e-5`` for text: it wants a dot in it."""
        return float(found) if isinstance(found, str) and re.fullmatch(r"[\d.]+[eE][-+]?\d+", found) else found

    @property
    def start_levels(self) -> tuple[int, ...]:
        """Level of each of the `aug_coe` copies, as the published driver counts them up."""
        levels, level = [], self.start_noise_step
        for copy in range(self.aug_coe):
            levels.append(level)
            level += self.noise_step * ((copy - self.start_noise_step) % 2 == 0)
        return tuple(levels)


def read_config(path: Path) -> DrdmOptions:
    """Read ``Config/config_*.yaml``.

    Raises:
        InputError: Missing, no YAML mapping, an option that the published programs do not have, or a wrong value.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the name") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is no YAML: {error}", path=path) from error
    if not isinstance(found, dict):
        raise InputError("holds no options", path=path, remedy="give a configuration such as config_cmr.yaml")
    named = {key: value for key, value in found.items() if value is not None}
    name = named.get("data_name", "cmr")
    folders = {f"aug_{kind}_savepath": f"Data/Aug_data/{name}/{kind}" for kind in ("img", "msk", "ddf")}
    try:
        return DrdmOptions.model_validate((_LUNG if name == "lct" else {}) | folders | named)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise InputError(
            f"option {option}: {first['msg']}", path=path, remedy=f"known: {', '.join(DrdmOptions.model_fields)}"
        ) from error


@dataclass(frozen=True)
class DrdmFolder:
    """The published folders under one root.

    Attributes:
        root: The folder that holds ``Data``, ``models`` and ``Config``.
    """

    root: Path

    def config(self, name: str) -> Path:
        """Return where the options of a data set lie."""
        return self.root / "Config" / f"config_{name}.yaml"

    def training_images(self, name: str) -> list[Path]:
        """Return the training images of a data set, in natural order.

        Raises:
            InputError: The folder is missing or holds none.
        """
        sources = self.root / "Data" / "Src_data"
        hard_coded = sources / SOURCE_FOLDERS.get(name, name)
        return _images(hard_coded if hard_coded.is_dir() else sources / name, "npy", *VOLUMES)

    def targets(self, name: str) -> list[tuple[Path, Path]]:
        """Return images to augment with their labels, paired by name: ``x.nii.gz`` with ``x_gt.nii.gz`` or ``x``.

        Raises:
            InputError: A folder is missing or empty, or a file has no partner, or several.
        """
        base = self.root / "Data" / "Tgt_data" / name
        images, labels = _images(base / "Tr", *VOLUMES), _images(base / "Gt", *VOLUMES)
        by_name: dict[str, Path] = {}
        for label in labels:
            key = image_of(label)
            if key in by_name:
                raise InputError(f"{label.name} and {by_name[key].name} are labels of one image", path=base / "Gt")
            by_name[key] = label
        missing = [image.name for image in images if stem(image) not in by_name]
        extra = sorted(set(by_name) - {stem(image) for image in images})
        if missing or extra:
            which = f"{missing[0]} has no label" if missing else f"{by_name[extra[0]].name} has no image"
            raise InputError(which, path=base, remedy="name labels as their images, with or without _gt at the end")
        return [(image, by_name[stem(image)]) for image in images]

    def made(self, name: str, kind: Literal["img", "msk", "ddf"]) -> Path:
        """Return the folder of a data set's outputs."""
        return self.root / "Data" / "Aug_data" / name / kind

    def weights(self, name: str, net: str = "recresacnet", *, epoch: int | str = 0) -> Path:
        """Return where the weights of an epoch (six digits) lie, or would lie."""
        file = f"{int(epoch):06d}_{name}_{net}.pth"
        dashed = self.root / "models" / f"{name}-{net}" / file
        return dashed if dashed.is_file() else self.root / "models" / f"{name}_{net}" / file

    def epochs(self, name: str, net: str = "recresacnet") -> list[int]:
        """Return the epochs whose weights are there, in order."""
        names = [path.name for path in (self.root / "models").glob(f"{name}[_-]{net}/*.pth")]
        matches = [_WEIGHTS.fullmatch(file) for file in names]
        return sorted({int(match[1]) for match in matches if match and match[2] == f"{name}_{net}"})


@dataclass(frozen=True)
class MadeName:
    """What the name of an output says.

    Attributes:
        patient: Number of the patient.
        item: Which image of the loader, 0-based; not the slice.
        copy: Which copy, 0-based; None for the original.
        level: Level of noise, or None for the original.
        noised: Only deformed at random, not recovered.
        label: A label, in the mask folder.
    """

    patient: int
    item: int
    copy: int | None = None
    level: int | None = None
    noised: bool = False
    label: bool = False

    def __str__(self) -> str:
        head = f"Patient{self.patient:04d}_Slice{self.item:06d}"
        if self.copy is None:
            made = "ORG_NA"
        else:
            made = f"{'Noise' if self.noised else 'Aug'}Img{self.copy:04d}_NoiseStep{self.level or 0:04d}"
        return f"{head}_{made}{'_GT' if self.label else ''}"

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self}.nii.gz"

    @classmethod
    def parse(cls, path: Path) -> MadeName | None:
        """Return what a file's name says, or None if it is named otherwise."""
        match = _MADE.fullmatch(stem(path))
        if match is None:
            return None
        patient, item, kind, copy, level, label = match.groups()
        original = cls(int(patient), int(item), label=bool(label))
        if kind is None:
            return original
        return replace(original, copy=int(copy), level=int(level), noised=kind == "Noise")


def patient_of(label: Path) -> int:
    """Return a patient's number as the cardiac loader finds it: ``patient001_frame01_gt.nii.gz`` is of patient 1.

    Raises:
        InputError: The name has no number there.
    """
    first = stem(label).split("_")[0][-3:]
    if not (first.isascii() and first.isdigit()):
        raise InputError(
            "its name holds no patient number", path=label, remedy="name it as patient001_frame01_gt.nii.gz"
        )
    return int(first)


def image_of(label: Path) -> str:
    """Return the name of the image that labels belong to: ``x`` for ``x_gt.nii.gz``, and for ``x.nii.gz``."""
    return _LABEL.sub("", stem(label))


def published_volume(path: Path) -> Volume:
    """Read a training array ``(x, y, z)`` of the lung configuration as a volume ``(slice, row, column)``.

    Raises:
        InputError: Damaged, or no array of three axes.
    """
    from .arrays import read_npy_volume

    found = read_npy_volume(path)
    if found.channels is not None:
        raise InputError(f"an array of shape {found.shape} is no (x, y, z)", path=path)
    columns, rows, slices = found.grid.shape
    return Volume(
        lambda: np.transpose(found.voxels, (2, 1, 0)),
        grid=Grid.spaced((slices, rows, columns), (1, 1, 1)),
        dtype=found.dtype,
        space_unit="voxel",
        source=found.source,
    )


def published_cube(slices: NDArray[Any], *, spacing: tuple[float, float], thickness: float, size: int) -> NDArray[Any]:
    """Return CT slices as the published DICOM reader lays them into a cube (spec 7.3): for comparison, not for use.

    Its last file comes first, stored values stay unscaled, and cubic overshoot is rounded to the dtype;
    `scanweave.read` sorts by position instead and keeps the scale.

    Args:
        slices: ``(file, row, column)`` in ascending order of file names.
        spacing: Millimetres between rows and between columns.
        thickness: Slice thickness in mm, which the published reader takes for the distance.
        size: Voxels along the longest physical side.

    Returns:
        ``(row, column, slice)``, a cube of the largest side, in the dtype of `slices`, zeros around.
    """
    from scipy.ndimage import zoom

    stack = np.moveaxis(slices[::-1], 0, -1)
    steps = np.array([*spacing, thickness])
    step = float((np.array(stack.shape) * steps).max()) / size
    resampled: NDArray[Any] = zoom(stack, steps / step, order=3)
    gaps = [max(resampled.shape) - n for n in resampled.shape]
    return np.pad(resampled, [(gap // 2, gap - gap // 2) for gap in gaps])


def as_published(volume: Volume) -> Volume:
    """Return a volume as the published driver writes one: float32 real values, an identity affine, first channel only.

    One slice gives a file of two axes. NIfTI's order of axes stays what it was, as it does in the published programs.
    """
    real = volume.real().astype(np.float32)
    return _placeless(real[..., 0] if volume.channels is not None else real)


def published_mask(labels: Volume, classes: int = 4) -> Volume:
    """Return the labels of one slice as the published driver writes them: axes (class, H, W), valued 1 to `classes`.

    Raises:
        UsageError: More than one slice.
    """
    if labels.grid.shape[0] != 1 or labels.channels is not None:
        raise UsageError("published masks of two dimensions hold one slice", remedy="take a slice first")
    label = labels.voxels[0]
    coded = np.stack([k * (label == k) for k in range(1, classes + 1)], axis=-1)
    return _placeless(coded.astype(np.float32))


def labels_of_mask(mask: Volume) -> Volume:
    """Return the labels of one slice that a published mask (class, H, W) codes; the larger of two shares wins.

    The published program warps masks like images, so that classes overlap and overshoot at their edges.
    """
    values = np.arange(1, mask.grid.shape[2] + 1)
    shares = mask.real() / values
    label = np.where(shares.max(axis=-1) >= 0.5, shares.argmax(axis=-1) + 1, 0)
    return Volume.from_array(label.astype(np.uint8), spacing=(1, 1, 1), source=mask.source)


def _placeless(voxels: NDArray[np.float32]) -> Volume:
    header = Nifti1Header()
    header.set_data_shape(voxels.shape[:0:-1] if voxels.shape[0] == 1 else voxels.shape[::-1])
    grid = Grid.of_nifti(voxels.shape, np.eye(4))
    return Volume(lambda: voxels, grid=grid, dtype=np.float32, source=Source(header=header))


def stem(path: Path) -> str:
    """Return a file's name without its suffix; ``.nii.gz`` is one."""
    return _SUFFIX.sub("", path.name)


def _images(folder: Path, *kinds: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError("does not exist", path=folder, remedy="lay the data out as the published programs do")
    found = list_folder(folder).of(*kinds)
    if not found:
        raise InputError(f"holds no image ({' or '.join(sorted(kinds))})", path=folder)
    return sorted(found, key=natural)
