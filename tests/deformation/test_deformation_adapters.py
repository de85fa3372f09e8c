"""Transforms in the real pipelines: seeding rules, labels, landmarks, spacing, two and three dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchio
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from monai.data import MetaTensor
from monai.transforms import Compose

from scanweave.deformation.adapters.batchgeneratorsv2 import DeformTransform
from scanweave.deformation.adapters.monai import RandDeformd
from scanweave.deformation.adapters.torchio import RandomDeformation
from scanweave.deformation.methods import create
from scanweave.deformation.warping import pull
from scanweave.errors import InputError, UnsupportedError, UsageError
from scanweave.grid import Grid

CENTRES = {2: (14.0, 17.0), 3: (11.0, 14.0, 16.0)}
SPACE = {2: (30, 36), 3: (24, 30, 34)}


def blob(ndims: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A smooth bump, the ball in its middle as labels 0 and 7, and the place of its top in voxels."""
    axes = torch.meshgrid(*[torch.arange(float(size)) for size in SPACE[ndims]], indexing="ij")
    centre = torch.tensor(CENTRES[ndims], dtype=torch.float64)
    squared = sum((axis - place) ** 2 for axis, place in zip(axes, CENTRES[ndims], strict=True))
    return torch.exp(-squared / 40)[None], (7 * (squared < 20))[None].to(torch.int16), centre[None]


def middle(label: torch.Tensor) -> torch.Tensor:
    """The centre of what a map labels, in voxels."""
    return (label[0] > 0).nonzero().double().mean(0)


def compose_monai(seed: int = 3) -> Compose:
    transform = RandDeformd(
        ["image", "label", "float_label"],
        ["bilinear", "nearest", "nearest"],
        max_displacement=4.0,
        points="tip",
        allow_missing_keys=True,
    )
    return Compose([transform]).set_random_state(seed)


def subject_of(ndims: int) -> dict[str, torch.Tensor]:
    image, label, point = blob(ndims)
    return {"image": image, "label": label, "float_label": label.float(), "tip": point}


@pytest.mark.parametrize("ndims", [2, 3])
def test_monai_moves_image_labels_and_landmarks_together(ndims):
    given = subject_of(ndims)
    made = compose_monai()(given)
    assert not torch.equal(made["image"], given["image"]) and not torch.equal(made["label"], given["label"])
    assert made["label"].dtype == torch.int16 and set(made["label"].unique().tolist()) == {0, 7}
    assert torch.equal(made["float_label"], made["label"].float())
    top = torch.tensor(np.unravel_index(int(made["image"].argmax()), SPACE[ndims])).double()
    assert float((made["tip"][0] - top).abs().max()) <= 1.0
    assert float((made["tip"] - given["tip"]).norm()) > 0.05
    assert float((made["tip"][0] - middle(made["label"])).norm()) < 1.0


def test_monai_repeats_by_its_random_state_and_differs_from_call_to_call():
    one, again = compose_monai(), compose_monai()
    first, second = one(subject_of(2)), one(subject_of(2))
    assert torch.equal(first["image"], again(subject_of(2))["image"])
    assert not torch.equal(first["image"], second["image"])
    assert torch.equal(second["image"], again(subject_of(2))["image"])


def test_monai_honours_the_affine_and_keeps_the_metadata():
    image, label, _ = blob(3)
    affine = torch.diag(torch.tensor([4.0, 1.0, 0.5, 1.0], dtype=torch.float64))
    given = {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}
    transform = RandDeformd(["image", "label"], ["bilinear", "nearest"], max_displacement=3.0).set_random_state(0)
    made = transform(given)
    assert isinstance(made["image"], MetaTensor) and torch.equal(made["image"].affine, affine)
    stated = RandDeformd(["image"], max_displacement=3.0, spacing=(4.0, 1.0, 0.5)).set_random_state(0)
    assert torch.equal(stated({"image": image})["image"], made["image"].as_tensor())
    plain = RandDeformd(["image"], max_displacement=3.0).set_random_state(0)
    assert not torch.equal(plain({"image": image})["image"], made["image"].as_tensor())


def test_monai_deforms_as_often_as_its_probability_says():
    given = subject_of(2)
    never = RandDeformd(["image"], prob=0.0).set_random_state(0)
    assert torch.equal(never(given)["image"], given["image"]) and never.params is None
    absent = RandDeformd(["nothing"], allow_missing_keys=True)
    assert set(absent(given)) == set(given)


def test_monai_refuses_modes_and_labels_that_are_none():
    with pytest.raises(UsageError, match="bicubic"):
        RandDeformd(["image"], "bicubic")
    with pytest.raises(InputError, match="whole numbers"):
        RandDeformd(["label"], "nearest")({"label": torch.full((1, 8, 8), 0.5)})
    with pytest.raises(InputError, match="NaN"):
        RandDeformd(["image"])({"image": torch.full((1, 8, 8), torch.nan)})


def tio_subject(depth: int | None = None) -> torchio.Subject:
    image, label, point = blob(3) if depth is None else (*[item[..., None] for item in blob(2)[:2]], None)
    affine = np.diag([2.0, 1.0, 1.5, 1.0])
    affine[:3, 3] = (-20, 5, 9)
    tip = CENTRES[3] if point is not None else (*CENTRES[2], 0.0)
    world = affine[:3, :3] @ np.array(tip) + affine[:3, 3]
    return torchio.Subject(
        scan=torchio.ScalarImage(tensor=image, affine=affine),
        organ=torchio.LabelMap(tensor=label, affine=affine),
        tip=world[None],
    )


@pytest.mark.parametrize("depth", [None, 1])
def test_torchio_moves_image_labels_and_landmarks_together(depth):
    given = tio_subject(depth)
    torch.manual_seed(5)
    made = RandomDeformation(max_displacement=5.0, points=["tip"])(given)
    assert made["organ"].data.dtype == torch.int16 and set(made["organ"].data.unique().tolist()) == {0, 7}
    assert not torch.equal(made["scan"].data, given["scan"].data)
    index = (np.linalg.inv(made["scan"].affine) @ [*made["tip"][0], 1])[:3]
    assert np.linalg.norm(index - middle(made["organ"].data).numpy()) < 1.0
    assert np.array_equal(made["scan"].affine, given["scan"].affine)


def test_torchio_repeats_by_the_global_seed_and_its_history_replays_and_inverts():
    given = tio_subject()
    transform = RandomDeformation(max_displacement=4.0)
    torch.manual_seed(1)
    made = transform(given)
    torch.manual_seed(1)
    assert torch.equal(transform(given)["scan"].data, made["scan"].data)
    assert not torch.equal(transform(given)["scan"].data, made["scan"].data)
    replayed = made.get_composed_history()(given)
    assert torch.equal(replayed["scan"].data, made["scan"].data)
    back = made.apply_inverse_transform()
    before = (made["scan"].data - given["scan"].data).abs().mean()
    assert float((back["scan"].data - given["scan"].data).abs().mean()) < 0.2 * float(before)


def test_torchio_deforms_images_of_one_slice_by_weights_for_two_dimensions(drdm):
    given, network = tio_subject(1), drdm(0.02, ndims=2, channels=1, steps=4)
    method = create("drdm", weights=network, level=8)
    torch.manual_seed(2)
    made = RandomDeformation(method=method, points=["tip"])(given)
    params = made.history[0].params
    flat = Grid.spaced((1, *SPACE[2]), (1.0, 2.0, 1.0))
    image = given["scan"].data[..., 0]
    (field,) = method.fields([params], flat, image)
    assert torch.equal(made["scan"].data[..., 0], pull(field, [image])[0][0])
    assert made["tip"][0, 2] == given["tip"][0, 2] and not np.array_equal(made["tip"], given["tip"])


def sample_of(ndims: int) -> dict[str, torch.Tensor]:
    image, label, point = blob(ndims)
    return {
        "image": torch.cat([image, 2 * image]),
        "segmentation": torch.cat([label, -(label > 0).to(torch.int16)]),
        "regression_target": image,
        "keypoints": point,
    }


@pytest.mark.parametrize("ndims", [2, 3])
def test_batchgenerators_moves_all_of_a_sample_together(ndims):
    np.random.seed(2)  # noqa: NPY002 - the package's own rule of seeding
    pipeline = ComposeTransforms([DeformTransform(max_displacement=4.0)])
    made = pipeline(**sample_of(ndims))
    assert torch.allclose(made["image"][1], 2 * made["image"][0])
    assert torch.equal(made["regression_target"][0], made["image"][0])
    assert set(made["segmentation"][0].unique().tolist()) == {0, 7}
    assert torch.equal(made["segmentation"][1], -(made["segmentation"][0] > 0).to(torch.int16))
    assert float((made["keypoints"][0] - middle(made["segmentation"])).norm()) < 1.0
    np.random.seed(2)  # noqa: NPY002
    assert torch.equal(pipeline(**sample_of(ndims))["image"], made["image"])
    assert not torch.equal(pipeline(**sample_of(ndims))["image"], made["image"])


def test_batchgenerators_leaves_samples_alone_and_refuses_boxes():
    given = sample_of(2)
    made = DeformTransform(p=0.0)(**given)
    assert all(torch.equal(made[key], sample_of(2)[key]) for key in made)
    with pytest.raises(UnsupportedError, match="boxes"):
        DeformTransform()(image=given["image"], bbox=torch.zeros(1, 4))
    with pytest.raises(UsageError, match="share"):
        DeformTransform(p=2.0)
