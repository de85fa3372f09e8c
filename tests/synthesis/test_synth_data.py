"""Training slices of volumes: whose they are, what they are made of, and that the test set is never looked at."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from scanweave.errors import InputError, UsageError
from scanweave.synthesis.collection import contrast_of, find_subjects, split_subjects
from scanweave.synthesis.config import TaskConfig
from scanweave.synthesis.data import DataConfig, data_sha256, open_volumes
from scanweave.synthesis.published_data import write_subject
from scanweave.training.order import validation_draw

SHAPE = (9, 12, 10)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write ``(slice, row, column)``, slices to the head, rows to the back, columns to the left: as they are read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)


def ramp(seed: int) -> np.ndarray:
    """A volume whose slices are each of one value: 10 in the first, 10 more in each that follows."""
    voxels = np.broadcast_to(10 * np.arange(1, SHAPE[0] + 1)[:, None, None], SHAPE).astype(np.int16).copy()
    voxels[:, seed % SHAPE[1]] += 1
    return voxels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five people; the last has no T2."""
    for number in range(5):
        for contrast in ("T1w", "T2w", "FLAIR")[: 3 if number < 4 else 1]:
            write_nifti(tmp_path / "in" / f"sub-0{number}" / "anat" / f"sub-0{number}_{contrast}.nii.gz", ramp(number))
    return tmp_path / "in"


def opened(path: Path, task: TaskConfig, **options):
    given = {"path": path, "split": (0.5, 0.25, 0.25), "flips": "none"} | options
    return open_volumes(DataConfig(**given), task, one_z=True)


# --- whose files they are


def test_contrasts_are_told_by_names():
    wanted = ["T1", "T2", "t1_lr4sr", "FLAIR"]
    assert contrast_of("IXI002-Guys-0828-T1.nii.gz", wanted) == "T1"
    assert contrast_of("sub-01_ses-2_T2w.nii.gz", wanted) == "T2"
    assert contrast_of("p7_flair.nii", wanted) == "FLAIR"
    assert contrast_of("p7_t1_lr4sr.nii", ["t1_lr4sr"]) == "t1_lr4sr"
    assert contrast_of("mask.nii.gz", wanted) is None
    with pytest.raises(UsageError, match="both T1 and T2"):
        contrast_of("T1_T2.nii", wanted)


def test_subjects_of_folders_and_of_names_are_found(tmp_path):
    for name in ("A01-T1", "A01-T2", "A02-T1"):
        write_nifti(tmp_path / "flat" / f"{name}.nii.gz", ramp(0))
    found = find_subjects(tmp_path / "flat", ["T1", "T2"])
    assert [(one.name, sorted(one.contrasts)) for one in found] == [("A01", ["T1", "T2"]), ("A02", ["T1"])]
    for session in (1, 2):
        where = tmp_path / "bids" / "sub-9" / f"ses-{session}" / "anat"
        write_nifti(where / f"sub-9_ses-{session}_T1w.nii.gz", ramp(0))
    found = find_subjects(tmp_path / "bids", ["T1"])
    assert len(found) == 2
    assert {one.patient for one in found} == {"sub-9"}


def test_two_files_of_one_contrast_and_folders_without_any_are_refused(tmp_path):
    write_nifti(tmp_path / "P" / "a_T1.nii.gz", ramp(0))
    write_nifti(tmp_path / "P" / "a_T1w.nii.gz", ramp(0))
    with pytest.raises(InputError, match="and so is"):
        find_subjects(tmp_path, ["T1"])
    with pytest.raises(InputError, match="no subject with any of PD"):
        find_subjects(tmp_path, ["PD"])


def test_nobody_is_in_two_splits(folder):
    dealt = split_subjects(find_subjects(folder, ["T1", "T2"]), shares=(0.6, 0.2, 0.2), seed=0)
    names = {split: {one.patient for one in members} for split, members in dealt.items()}
    assert {split: len(members) for split, members in names.items()} == {"train": 3, "validation": 1, "test": 1}
    assert not names["train"] & names["test"]
    with pytest.raises(UsageError, match=r"1 patient for 3 splits .* split 1,0,0 trains on all"):
        split_subjects(find_subjects(folder, ["T1"])[:1], shares=(0.8, 0.1, 0.1), seed=0)
    for split in ("train", "test"):
        (folder.parent / "stated" / split).mkdir(parents=True)
        (folder.parent / "stated" / split / "sub-00").symlink_to(folder / "sub-00")
    with pytest.raises(InputError, match="of the same patient"):
        find_subjects(folder.parent / "stated", ["T1"])


def test_folders_that_state_who_tests_are_obeyed_and_the_test_set_is_never_opened(tmp_path):
    task = TaskConfig(side=16)
    for split, people in {"train": "abc", "test": "de"}.items():
        for person in people:
            levels = {name: (ramp(ord(person)) % 256).astype(np.uint8) for name in ("T1", "T2")}
            write_subject(tmp_path / split / f"{person}.h5", levels)
    train, held_out = opened(tmp_path, task)
    seen = {one.files.name for samples in (train, held_out) for one in samples.subjects}
    assert seen == {"a", "b", "c"}
    assert len(held_out.subjects) == 1
    (tmp_path / "val").mkdir()
    (tmp_path / "train" / "b.h5").rename(tmp_path / "val" / "b.h5")
    _, held_out = opened(tmp_path, task)
    assert [one.files.name for one in held_out.subjects] == ["b"]


# --- what samples are


def test_people_without_what_a_task_needs_are_left_out(folder):
    task = TaskConfig(sources=("T1", "FLAIR"), targets=("T2",), side=16)
    train, held_out = opened(folder, task, split=(0.8, 0.2, 0.0))
    assert sum(len(samples.subjects) for samples in (train, held_out)) == 4
    every = TaskConfig(sources=("T1", "T2"), targets=("T1", "T2"), take="one", side=16)
    train, held_out = opened(folder, every, split=(0.8, 0.2, 0.0))
    assert sum(len(samples.subjects) for samples in (train, held_out)) == 5
    alone = next(one for samples in (train, held_out) for one in samples.subjects if one.files.name == "sub-04")
    assert alone.tasks == {"T1": ("T1",)}
    with pytest.raises(InputError, match="what it takes to make PD of T1"):
        opened(folder, TaskConfig(targets=("PD",), side=16))


def test_a_sample_is_neighbouring_slices_and_the_wanted_one(folder):
    train, _ = opened(folder, TaskConfig(sources=("T1", "FLAIR"), targets=("T2",), side=16))
    drawn = validation_draw(train, 3, seed=0)
    sample = train.make(drawn)
    assert sample["source"].shape == (8, 16, 16)
    assert sample["target"].shape == (1, 16, 16)
    assert sample["contrast"].tolist() == [1]
    assert sample["position"].tolist() == [0]
    middle = sample["source"][:, 8, 8]
    assert torch.equal(middle[:4], middle[4:])
    assert bool((middle[:4].diff() > 0).all())
    assert middle[1] == sample["target"][0, 8, 8]
    assert float(sample["source"][0, 0, 0]) == -1


def test_thick_slices_are_taken_from_thin_ones(folder):
    task = TaskConfig(sources=("T1",), targets=("T1",), spacings=(4.0,), side=16)
    train, _ = opened(folder, task, ends="black")
    drawn = validation_draw(train, 6, seed=0)
    assert (drawn["slice"], drawn["first"]) == (6, 4)
    sample = train.make(drawn)
    assert sample["position"].item() == 0.5
    before, first, after, beyond = sample["source"][:, 8, 8].tolist()
    assert before < first < after
    assert beyond == -1
    assert sample["target"][0, 8, 8].item() == pytest.approx((first + after) / 2, abs=0.02)
    averaged, _ = opened(folder, task, profile="box")
    assert averaged.make(drawn)["source"][1, 8, 8].item() == pytest.approx(first, abs=0.02)
    replicated, _ = opened(folder, task)
    assert replicated.make(drawn)["source"][3, 8, 8].item() == pytest.approx(
        replicated.make({**drawn, "first": 8.0})["source"][1, 8, 8].item()
    )


def test_networks_of_every_task_see_sources_that_begin_anywhere(folder):
    task = TaskConfig(sources=("T1", "T2"), targets=("T1", "T2"), take="one", spacings=(1.0, 3.0), side=16)
    train, _ = opened(folder, task)
    draws = [train.draw(5, generator=np.random.default_rng(seed)) for seed in range(60)]
    assert {(one["sources"][0], one["target"]) for one in draws} == {(a, b) for a in ("T1", "T2") for b in ("T1", "T2")}
    assert {one["first"] for one in draws if one["spacing"] == 3} == {3.0, 4.0, 5.0}
    assert {one["first"] for one in draws if one["spacing"] == 1} == {5.0}


def test_flips_are_drawn_for_each_sample_and_turn_source_and_target_alike(folder):
    train, _ = opened(folder, TaskConfig(targets=("FLAIR",), side=16), flips="sample")
    drawn = validation_draw(train, 2, seed=0)
    made = {turned: train.make({**drawn, "flips": [turned, False]}) for turned in (False, True)}
    assert not torch.equal(made[True]["source"], made[False]["source"])
    for name in ("source", "target"):
        assert torch.equal(made[True][name], made[False][name].flip(-2))
    fixed, _ = opened(folder, TaskConfig(targets=("FLAIR",), side=16), flips="volume")
    again = [fixed.make({**drawn, "flips": [turned, turned]})["source"] for turned in (False, True)]
    assert torch.equal(*again)


def test_brightness_and_noise_change_sources_alone_and_leave_background(folder):
    train, _ = opened(folder, TaskConfig(side=16), gamma=0.3, noise=0.1)
    plain, _ = opened(folder, TaskConfig(side=16))
    drawn = {**validation_draw(train, 4, seed=0), "gammas": [1.5], "noise": 0.05}
    varied, same = train.make(drawn), plain.make(drawn)
    assert torch.equal(varied["target"], same["target"])
    background = same["source"] == -1
    assert bool((varied["source"][background] == -1).all())
    assert not torch.equal(varied["source"], same["source"])


def test_all_slices_of_a_subject_share_one_z_unless_asked_otherwise(folder):
    config, task = DataConfig(path=folder, split=(1, 0, 0)), TaskConfig(side=16)
    for one_z, count in ((True, 1), (False, 4)):
        train, held_out = open_volumes(config, task, one_z=one_z)
        assert held_out is None
        seeds = {int(train.make(validation_draw(train, index, seed=0))["seed"]) for index in range(4)}
        assert len(seeds) == count


def test_held_out_slices_without_anything_to_see_are_left_out(folder):
    for number in range(4):
        dark = ramp(number)
        dark[:2] = dark[-1] = 0
        write_nifti(folder / f"sub-0{number}" / "anat" / f"sub-0{number}_T2w.nii.gz", dark)
    train, held_out = opened(folder, TaskConfig(side=16))
    assert len(train) == len(train.subjects) * SHAPE[0]
    assert len(held_out) == len(held_out.subjects) * (SHAPE[0] - 3)
    assert {validation_draw(held_out, index, seed=0)["slice"] for index in range(6)} == set(range(2, 8))


def test_slices_can_be_cut_another_way_and_published_files_are_the_same_data(folder, tmp_path):
    train, _ = opened(folder, TaskConfig(side=16), plane="sagittal")
    assert train.subjects[0].shape == (SHAPE[2], SHAPE[0], SHAPE[1])
    axial, _ = opened(folder, TaskConfig(side=16))
    first = axial.subjects[0].files.name
    hashed = data_sha256(axial)
    assert hashed is not None
    assert hashed == data_sha256(axial)
    assert first.startswith("sub-")


def test_volumes_on_two_grids_and_with_nan_are_refused(folder):
    shifted = np.diag([-1.0, -1.0, 1.0, 1.0])
    shifted[0, 3] = 30
    write_nifti(folder / "sub-01" / "anat" / "sub-01_T2w.nii.gz", ramp(1), shifted)
    with pytest.raises(InputError, match="lies on another grid"):
        opened(folder, TaskConfig(side=16), split=(1, 0, 0))
    left, _ = opened(folder, TaskConfig(side=16), split=(1, 0, 0), skip_bad=True)
    assert len(left.subjects) == 3
    broken = ramp(1).astype(np.float32)
    broken[0, 0, 0] = np.nan
    write_nifti(folder / "sub-01" / "anat" / "sub-01_T2w.nii.gz", broken)
    train, _ = opened(folder, TaskConfig(side=16), split=(1, 0, 0))
    left, _ = opened(folder, TaskConfig(side=16), split=(1, 0, 0), skip_bad=True)
    assert len(left.subjects) == 3
    with pytest.raises(InputError, match="NaN"):
        for index in range(len(train)):
            train.make(validation_draw(train, index, seed=0))


def test_a_folder_must_be_named(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        open_volumes(DataConfig(), TaskConfig(), one_z=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, "should name contrasts"),
        ({"targets": ("T2", "T2")}, "each once"),
        ({"spacings": (0.5,)}, "at least 1"),
        ({"sources": ("T1", "T2"), "targets": ("T2", "PD")}, "can be made alike"),
        ({"sources": ("T1",), "targets": ("T1",)}, "the target is the source"),
    ],
)
def test_tasks_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        TaskConfig(**options)


def test_channels_of_tasks():
    assert TaskConfig(sources=("T1", "T2"), targets=("T1", "T2"), take="one").channels == 4
    assert TaskConfig(sources=("T1", "FLAIR"), targets=("T2",)).channels == 8
    assert TaskConfig(sources=("T1", "T2", "PD"), targets=("T1", "T2", "PD")).channels == 8
    assert TaskConfig(sources=("T1",), targets=("T1",), spacings=(2.5,), slices=1).channels == 1
