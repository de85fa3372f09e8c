"""The published evaluations, against the programs' own numbers where there are some, and on tiny sets."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scanweave.errors import InputError, UsageError
from scanweave.interpolation.clips import Clip, TrainingSet
from scanweave.interpolation.data import ClipSamples
from scanweave.interpolation.evaluation_protocols import (
    BatchCase,
    most_dsa_cases,
    most_dsa_measures,
    super_slomo_cases,
    triplet_cases,
    triplet_measures,
)
from scanweave.interpolation.methods import create
from scanweave.interpolation.sampling import Picked, Sampler
from scanweave.interpolation.transforms import Whole
from scanweave.metrics import most_dsa_psnr, most_dsa_ssim, mse
from scanweave.models.super_slomo import SuperSlomo, SuperSlomoConfig
from scanweave.weights.vgg import read_vgg

BASELINES = {name: create(name) for name in ("hold", "linear")}


def write(folder: Path, name: str, frame: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), frame[..., ::-1] if frame.ndim == 3 else frame)


def pictures(count: int, seed: int = 0, *, size=(32, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, *size, 3)).astype(np.uint8)


@pytest.fixture
def dsa_set(tmp_path):
    """Write sequences of N frames between, and TestList.txt."""

    def make(count=2, between=2, **how):
        for k in range(count):
            frames, last = pictures(between + 2, k, **how), between + 2
            for n, frame in enumerate(frames, start=1):
                write(tmp_path / f"s{k}", f"frame_{n}.png" if n in (1, last) else f"frame_{n}_gt.png", frame)
        (tmp_path / "TestList.txt").write_text("".join(f"s{k}\n" for k in range(count)))
        return tmp_path

    return make


@pytest.fixture
def clip_set(tmp_path):
    """Write clips of pictures into a folder of Super-SloMo's layout."""

    def make(counts, split="validation", **how):
        for k, count in enumerate(counts):
            for n, frame in enumerate(pictures(count, k, **how)):
                write(tmp_path / split / str(k), f"{n:06d}.png", frame)
        return tmp_path

    return make


# --- MoSt-DSA ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["grey64x96", "colour64x96"])
def test_most_dsa_measures_are_those_of_its_program(vectors, case):
    golden = vectors("most_dsa/metrics")
    scale, shift = golden[f"{case}_scale_shift"]
    made, truth = (
        torch.from_numpy(golden[f"{case}_{kind}_u8"] / 255 * scale + shift).permute(2, 0, 1) for kind in ("pred", "gt")
    )
    told = most_dsa_measures(made, truth)
    assert told["psnr"] == pytest.approx(float(golden[f"{case}_psnr"]), abs=1e-5)
    assert told["ssim"] == pytest.approx(float(golden[f"{case}_ssim3d_float64"]), abs=3e-5)


def test_most_dsa_scores_what_the_network_itself_makes(dsa_set, small_dsa):
    """Float predictions of one sample at a time, without augmentation, blue first, at k / (N + 1)."""
    cases = most_dsa_cases(dsa_set(2, 2), sizes="published")
    assert [case.name for case in cases] == ["s0", "s1"]
    method = create("most-dsa", weights=small_dsa, device="cpu")
    for k, case in enumerate(cases):
        rows = case.score({"net": method}).rows
        frames = torch.from_numpy(pictures(4, k)[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            made = small_dsa(frames[:1], frames[3:], [1 / 3, 2 / 3])[0]
        assert [(row.hidden, row.gap, pytest.approx(row.t)) for row in rows] == [(1, 3, 1 / 3), (2, 3, 2 / 3)]
        for n, row in enumerate(rows):
            assert row.values["psnr"] == pytest.approx(most_dsa_psnr(made[n], frames[n + 1]), abs=1e-3)
            assert row.values["ssim"] == pytest.approx(most_dsa_ssim(made[n], frames[n + 1]), abs=1e-4)


def test_the_original_area_is_scored_or_stretched_as_published(dsa_set):
    folder = dsa_set(1, 1, size=(30, 52))
    ours, theirs = (most_dsa_cases(folder, sizes=sizes)[0].score(BASELINES).rows for sizes in ("pad", "published"))
    frames = pictures(3, size=(30, 52)).astype(np.float64) / 255
    wanted = -10 * math.log10(mse((frames[0] + frames[2]) / 2, frames[1]))
    told = {row.method: row.values["psnr"] for row in ours}
    assert told["linear"] == pytest.approx(wanted, abs=1e-4)
    stretched = [cv2.resize(frame, (256, 256), interpolation=cv2.INTER_CUBIC) for frame in pictures(3, size=(30, 52))]
    first, truth, last = (frame.astype(np.float64) / 255 for frame in stretched)
    told = {row.method: row.values["psnr"] for row in theirs}
    assert told["linear"] == pytest.approx(-10 * math.log10(mse((first + last) / 2, truth)), abs=1e-4)


def test_sides_on_which_the_published_program_fails_are_named(dsa_set, small_dsa):
    folder = dsa_set(1, 1, size=(24, 40))
    net = {"net": create("most-dsa", weights=small_dsa, device="cpu")}
    with pytest.raises(InputError, match=r"s0 has 24 x 40 pixels here.*multiples of 16.*--sizes pad"):
        str(most_dsa_cases(folder, sizes="published")[0].score(net))
    assert len(most_dsa_cases(folder, sizes="pad")[0].score(net).rows) == 1


def test_lists_that_lie_are_refused_by_name(dsa_set):
    folder = dsa_set(2, 2)
    (folder / "TestList.txt").write_text("s0\nnowhere\n")
    with pytest.raises(InputError, match="line 2: nowhere is no folder"):
        most_dsa_cases(folder)
    (folder / "TestList.txt").write_text("\n")
    with pytest.raises(InputError, match="is an empty list"):
        most_dsa_cases(folder)
    (folder / "TestList.txt").write_text("s0\ns1\n")
    (folder / "s1" / "frame_2_gt.png").unlink()
    with pytest.raises(InputError, match=r"frame_2_gt\.png is missing"):
        most_dsa_cases(folder)
    (folder / "TestList.txt").unlink()
    with pytest.raises(InputError, match=r"TestList\.txt"):
        most_dsa_cases(folder)


# --- Super-SloMo ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GoldenSampler(Sampler):
    """The two samples of the golden training step: middle frames 2 and 7 of 8."""

    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return 2

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        middle = (2, 7)[index]
        return Picked(self.clips[index], (0, 8), (middle,), (middle / 8,))


@pytest.fixture
def golden_batch(vectors, tmp_path):
    golden = vectors("slowmo_echo/loss_64x64")
    clips = []
    for k, (first, truth, last) in enumerate(golden["frames_u8"]):
        stack = np.stack([first] * 9)
        stack[(2, 7)[k]], stack[8] = truth, last
        np.save(tmp_path / f"{k}.npy", stack)
        clips.append(Clip(str(k), "", (tmp_path / f"{k}.npy",), 9, (64, 64)))
    return ClipSamples(GoldenSampler(tuple(clips)), Whole(), TrainingSet(tmp_path, "super-slomo", tuple(clips)))


@pytest.fixture(scope="module")
def vgg16(goldens, fill, tmp_path_factory):
    shapes = json.loads((goldens / "slowmo_echo" / "keys.json").read_text())["vgg16_to_conv4_3"]
    state = fill({name: torch.zeros(shape) for name, shape in shapes.items()})
    path = tmp_path_factory.mktemp("vgg") / "vgg16-397923af.pth"
    torch.save({name: tensor * (2 if tensor.ndim == 4 else 1) for name, tensor in state.items()}, path)
    return path


def test_a_batch_scores_as_the_published_program(golden_batch, vectors, vgg16, slomo):
    golden, convention = vectors("slowmo_echo/loss_64x64"), "half_pixel"
    method = create("super-slomo", weights=slomo(convention), device="cpu")
    rows = BatchCase(golden_batch, 0, "published", read_vgg(vgg16)).score({"net": method}).rows
    pooled = {name: sum(row.values[name] for row in rows) / 2 for name in rows[0].values}
    assert -10 * math.log10(pooled["mse"]) == pytest.approx(golden[f"{convention}_psnr"], abs=1e-3)
    assert pooled["ssim"] == pytest.approx(golden[f"{convention}_ssim"], abs=1e-4)
    names = {"reconstruction": "recon", "warping": "warp", "perceptual": "perceptual", "smoothness": "smooth"}
    for ours, theirs in {**names, "loss": "total"}.items():
        assert pooled[ours] == pytest.approx(golden[f"{convention}_{theirs}"], rel=1e-4)


def test_without_vgg_there_is_no_loss(golden_batch, slomo):
    rows = BatchCase(golden_batch, 0).score({"net": create("super-slomo", weights=slomo("exact"), device="cpu")}).rows
    assert set(rows[0].values) == {"mse", "psnr", "ssim", "reconstruction", "warping", "smoothness"}


def test_images_are_compared_without_the_mean_of_the_network_that_made_them(golden_batch, slomo_state):
    def of_mean(level):
        network = SuperSlomo(SuperSlomoConfig(warp_convention="exact", mean=(level,) * 3))
        network.load_state_dict(slomo_state, assign=True)
        return create("super-slomo", weights=network.eval(), device="cpu")

    one, other = of_mean(0.1), of_mean(0.4)
    alone = BatchCase(golden_batch, 0).score({"other": other}).rows
    beside = BatchCase(golden_batch, 0).score({"one": one, "other": other}).rows
    assert [row.values for row in beside if row.method == "other"] == [row.values for row in alone]


def test_every_clip_once_in_batches_of_ten(clip_set):
    cases = super_slomo_cases(clip_set([9] * 12, size=(16, 16)))
    assert [case.name for case in cases] == ["batch 0", "batch 1"]
    rows = [row for case in cases for row in case.score(BASELINES).rows if row.method == "linear"]
    assert [row.run for row in rows] == [f"validation/{k}" for k in range(12)]
    assert [row.hidden for row in rows] == [k % 7 + 1 for k in range(12)]
    assert [row.batch for row in rows] == [0] * 10 + [1] * 2
    for k, row in enumerate(rows):
        frames = pictures(9, k, size=(16, 16)) / 255
        t = row.hidden / 8
        wanted = mse(frames[0] * (1 - t) + frames[8] * t, frames[row.hidden])
        assert row.values["mse"] == pytest.approx(wanted, rel=1e-4)


def test_clips_of_two_sizes_need_a_crop(clip_set, tmp_path):
    clip_set([9], size=(16, 16))
    for n, frame in enumerate(pictures(9, size=(20, 24))):
        write(tmp_path / "validation" / "1", f"{n:06d}.png", frame)
    with pytest.raises(InputError, match=r"is 20 x 24, and validation/0 16 x 16"):
        super_slomo_cases(tmp_path)
    assert len(super_slomo_cases(tmp_path, crop=(16, 16))[0].score(BASELINES).rows) == 4


def test_short_clips_and_missing_splits_are_refused(clip_set):
    folder = clip_set([9, 8], size=(16, 16))
    with pytest.raises(InputError, match="has 8 frames"):
        super_slomo_cases(folder)
    with pytest.raises(UsageError, match="no clips in the split 'test'"):
        super_slomo_cases(folder, split="test")


# --- triplets ---------------------------------------------------------------------------------------------------------


def test_triplets_are_made_at_one_half_and_measured_in_grey_levels(clip_set):
    folder = clip_set([3, 3], split="test", size=(16, 16))
    for k, case in enumerate(triplet_cases(folder)):
        rows = {row.method: row for row in case.score(BASELINES).rows}
        frames = pictures(3, k, size=(16, 16)).astype(np.float64)
        assert rows["hold"].t == 0.5
        assert rows["hold"].values["ie"] == pytest.approx(math.sqrt(mse(frames[0], frames[1])))
        assert rows["hold"].values["psnr"] == pytest.approx(20 * math.log10(255 / rows["hold"].values["ie"]))


def test_interpolation_error_in_closed_form():
    truth = torch.full((3, 16, 16), 100 / 255)
    told = triplet_measures(truth + 7.3 / 255, truth)
    assert told["ie"] == pytest.approx(7)
    assert triplet_measures(truth, truth) == {"psnr": math.inf, "ssim": 1.0, "ie": 0.0}


def test_clips_of_other_lengths_are_no_triplets(clip_set):
    with pytest.raises(InputError, match="exactly 3"):
        triplet_cases(clip_set([3, 4], split="test"))
