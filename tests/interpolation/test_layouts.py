"""Training sets on disk: what other programs made is read, and what is odd is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanweave.errors import InputError, UsageError
from scanweave.interpolation.checking import check_set
from scanweave.interpolation.data import DataConfig, open_samples
from scanweave.interpolation.layouts import open_set


def _picture(path: Path, seed: int, shape: tuple[int, ...] = (16, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def dsa(tmp_path: Path) -> Path:
    """Two sequences to train on and one to test on, two frames between, as their README lays them out."""
    root = tmp_path / "dsa"
    for k, folder in enumerate(("Data_part_1/Sequence_1", "Data_part_1/Sequence_2", "Data_part_301/Sequence_1")):
        for n, name in enumerate(("frame_1", "frame_2_gt", "frame_3_gt", "frame_4")):
            _picture(root / folder / f"{name}.png", 10 * k + n)
    (root / "TrainList.txt").write_text("Data_part_1/Sequence_1\nData_part_1/Sequence_2\n")
    (root / "TestList.txt").write_text("Data_part_301/Sequence_1\n")
    return root


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """Two clips of 13 frames to train on, one to validate and one to test on, as their README lays them out."""
    root = tmp_path / "echo"
    for k, clip in enumerate(("train/0", "train/1", "validation/0", "test/0")):
        for n in range(13):
            _picture(root / clip / f"{n + 13 * k:06d}.png", 20 * k + n)
    return root


def test_the_dsa_layout_is_recognised(dsa):
    found = open_set(dsa)
    assert (found.layout, found.splits) == ("most-dsa", {"train": 2, "test": 1})
    assert [path.name for path in found.clips[0].files] == [
        "frame_1.png",
        "frame_2_gt.png",
        "frame_3_gt.png",
        "frame_4.png",
    ]
    assert check_set(dsa)["frames"] == 12
    config = DataConfig(path=dsa, sampling="windows", inter_frames=2, augmentation="most-dsa-test", split="test")
    assert len(open_samples(config)) == 1
    with pytest.raises(UsageError, match="set inter_frames to 2"):
        open_samples(DataConfig(path=dsa, sampling="windows", inter_frames=1))


def test_lists_may_lie_elsewhere_and_end_in_empty_lines(dsa, tmp_path):
    (tmp_path / "lists").mkdir()
    for name in ("TrainList.txt", "TestList.txt"):
        text = (dsa / name).read_text()
        (dsa / name).rename(tmp_path / "lists" / name)
        (tmp_path / "lists" / name).write_text("\r\n" + text.replace("\n", "\r\n") + "\n\n")
    assert open_set(dsa, lists=tmp_path / "lists").splits == {"train": 2, "test": 1}


def test_the_echo_layout_is_recognised_and_sorted_naturally(echo):
    (echo / "train/Thumbs.db").write_bytes(b"clutter")
    (echo / "train/10").mkdir()
    for n in range(13):
        _picture(echo / f"train/10/frame{n}.png", 900 + n)
    found = open_set(echo)
    assert (found.layout, found.splits) == ("super-slomo", {"train": 3, "validation": 1, "test": 1})
    assert [clip.name for clip in found.of("train")] == ["train/0", "train/1", "train/10"]
    assert [path.name for path in found.of("train")[2].files] == [f"frame{n}.png" for n in range(13)]
    assert check_set(echo)["frames"] == 5 * 13


def test_a_folder_of_triplets_is_one_split(tmp_path):
    for k in range(3):
        for n in range(3):
            _picture(tmp_path / f"ucf101/{k}/frame_0{n}.png", 3 * k + n)
    samples = open_samples(DataConfig(path=tmp_path / "ucf101", split="test", sampling="triplets", augmentation="none"))
    assert len(samples) == 3
    assert samples.draw(2, generator=np.random.default_rng(0))["frames"] == [0, 1, 2]


DSA_FLAWS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty list": (lambda root: (root / "TrainList.txt").write_text("\n\n"), r"TrainList\.txt: is an empty list"),
    "a folder that is not there": (
        lambda root: (root / "TestList.txt").write_text("Data_part_9/Sequence_1\n"),
        r"TestList\.txt: line 1: Data_part_9/Sequence_1 is no folder",
    ),
    "a sequence in both lists": (
        lambda root: (root / "TestList.txt").write_text("Data_part_301/Sequence_1\nData_part_1/Sequence_2\n"),
        r"TestList\.txt: line 2: Data_part_1/Sequence_2 is in TrainList\.txt too",
    ),
    "a list that is no text": (lambda root: (root / "TestList.txt").write_bytes(b"\xff\xfe\xff"), "list of folders"),
    "a missing target": (
        lambda root: (root / "Data_part_1/Sequence_2/frame_3_gt.png").unlink(),
        r"Sequence_2: frame_3_gt\.png is missing",
    ),
    "a target without its mark": (
        lambda root: (root / "Data_part_1/Sequence_2/frame_3_gt.png").rename(
            root / "Data_part_1/Sequence_2/frame_3.png"
        ),
        r"frame_3_gt\.png is missing",
    ),
    "a frame twice": (
        lambda root: _picture(root / "Data_part_1/Sequence_2/frame_3.png", 0),
        r"frame_3\.png has no place",
    ),
    "no frames": (
        lambda root: [path.unlink() for path in (root / "Data_part_1/Sequence_1").iterdir()],
        "Sequence_1: holds 0 frames",
    ),
    "sequences of several lengths": (
        lambda root: [
            (root / "Data_part_1/Sequence_2/frame_3_gt.png").unlink(),
            (root / "Data_part_1/Sequence_2/frame_4.png").rename(root / "Data_part_1/Sequence_2/frame_3.png"),
        ],
        "Sequence_2: has 3 frames, and Data_part_1/Sequence_1 has 4",
    ),
    "several sizes in a sequence": (
        lambda root: _picture(root / "Data_part_1/Sequence_1/frame_4.png", 0, (16, 25)),
        r"frame_4\.png: is 16 x 25, frame_1\.png beside it 16 x 24",
    ),
    "a picture that is none": (
        lambda root: (root / "Data_part_1/Sequence_1/frame_2_gt.png").write_bytes(b"no picture"),
        r"frame_2_gt\.png: cannot be read as a picture",
    ),
}


@pytest.mark.parametrize("flaw", DSA_FLAWS)
def test_flaws_of_a_dsa_set_are_named(dsa, flaw):
    make, message = DSA_FLAWS[flaw]
    make(dsa)
    with pytest.raises(InputError, match=message):
        open_set(dsa)


ECHO_FLAWS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing frame": (
        lambda root: (root / "train/1/000018.png").unlink(),
        r"train/1: frames are missing between 000017\.png and 000019\.png",
    ),
    "an empty clip": (lambda root: (root / "train/2").mkdir(), "train/2: holds no pictures"),
    "an empty split": (
        lambda root: [path.unlink() for path in (root / "test/0").iterdir()] + [(root / "test/0").rmdir()],
        "test: holds no folders of clips",
    ),
    "several sizes": (lambda root: _picture(root / "validation/0/000030.png", 0, (17, 24)), r"000030\.png: is 17 x 24"),
}


@pytest.mark.parametrize("flaw", ECHO_FLAWS)
def test_flaws_of_an_echo_set_are_named(echo, flaw):
    make, message = ECHO_FLAWS[flaw]
    make(echo)
    with pytest.raises(InputError, match=message):
        open_set(echo)


def test_the_same_frame_in_two_splits_is_found_but_not_an_empty_one(echo):
    black = np.zeros((16, 24), np.uint8)
    for place in ("train/0/000003.png", "test/0/000041.png"):
        cv2.imwrite(str(echo / place), black)
    check_set(echo)
    (echo / "test/0/000042.png").write_bytes((echo / "train/1/000014.png").read_bytes())
    with pytest.raises(InputError, match=r"the same frame is in train/1 \(train\) and in test/0 \(test\)"):
        check_set(echo)


def test_damaged_pixels_are_found(echo):
    path = echo / "validation/0/000030.png"
    path.write_bytes(path.read_bytes()[:60])
    assert open_set(echo).splits["validation"] == 1, "headers are sound"
    with pytest.raises(InputError, match=r"000030\.png"):
        check_set(echo)


def test_what_is_no_training_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        open_set(tmp_path / "nothing")
    with pytest.raises(UsageError, match="holds no training set"):
        open_set(tmp_path)
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        open_set(tmp_path, layout="scanweave")
    with pytest.raises(InputError, match=r"holds no TrainList\.txt"):
        open_set(tmp_path, layout="most-dsa")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is no manifest"):
        open_set(tmp_path)
