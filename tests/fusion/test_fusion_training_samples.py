"""Training samples of paired folders: which frames, from which files, and what is done with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from scanweave.errors import InputError, UsageError
from scanweave.fusion.clips import MetaEntry, held_out, open_clips, read_context_map, read_meta, unit_of, write_meta
from scanweave.fusion.pairs import PairsConfig, open_pairs
from scanweave.fusion.patches import FrameSet, PatchConfig, counted, cut, patch
from scanweave.fusion.sampling import FramesConfig, draw_context, draw_frames, frames_to_validate


@pytest.fixture
def make_set(tmp_path):
    """A published layout: clip k, frame i holds level 10 k + i everywhere, coarse ones one more."""

    def make(*, clips=(0, 270, 836), frames=8, shape=(64, 96), deep=False, ratio=4):
        for k, name in enumerate(clips):
            for camera, size, more in (("HR", shape, 0), ("LR", tuple(n // ratio for n in shape), 1)):
                folder = tmp_path / camera / f"{name:03d}"
                folder.mkdir(parents=True)
                for i in range(frames):
                    level = 10 * k + i + more
                    pixels = np.full(size, level, np.uint8) if not deep else np.full(size, 257 * level + 3, np.uint16)
                    Image.fromarray(pixels).save(folder / f"{i:08d}.png")
        write_meta(tmp_path / "meta.txt", [MetaEntry(f"{one:03d}", frames, shape, 3) for one in clips])
        return tmp_path

    return make


def draws(config, *, centre=5, count=20, number=300, times=200):
    generator = np.random.default_rng(0)
    return [draw_frames(config, centre, count, number=number, generator=generator) for _ in range(times)]


def test_sharp_frames_lie_up_to_their_reach_from_the_centre():
    found = [chosen for chosen, _ in draws(FramesConfig(sharp_reach=3))]
    assert {one.coarse for one in found} == {(4, 5, 6)}
    assert {one.sharp[0] for one in found} == {2, 3, 4} and {one.sharp[1] for one in found} == {6, 7, 8}
    assert len({one.sharp for one in found}) == 9


def test_a_sharp_frame_outside_the_clip_is_the_next_one_instead():
    found = {chosen.sharp for chosen, _ in draws(FramesConfig(sharp_reach=9), centre=2, count=6)}
    assert all(0 <= before < 2 < after <= 5 for before, after in found)
    assert {before for before, _ in found} == {0, 1}


@pytest.mark.parametrize(("step", "reached"), [("frame", {3, 4, 6, 7}), ("interval", {1, 3, 7, 9})])
def test_steps_of_sharp_frames_are_frames_or_intervals(step, reached):
    config = FramesConfig(intervals=(2,), sharp_reach=2, sharp_step=step)
    assert {i for chosen, _ in draws(config) for i in chosen.sharp} == reached


def test_clips_numbered_low_take_every_frame_as_published():
    config = FramesConfig(intervals=(3,), intervals_from=270)
    assert {interval for _, interval in draws(config, number=269)} == {1}
    assert {interval for _, interval in draws(config, number=270)} == {3}
    assert {interval for _, interval in draws(FramesConfig(intervals=(3,)), number=None)} == {3}


def test_centres_without_neighbours_are_replaced():
    config = FramesConfig(intervals=(1, 2), second_from=2234)
    found = [chosen for chosen, _ in draws(config, centre=0, count=6, number=2234)]
    assert min(min(one.coarse) for one in found) == 1 and min(one.sharp[0] for one in found) == 1
    assert {min(one.coarse) for one, _ in draws(FramesConfig(), centre=0, count=4, number=5)} == {0, 1}
    with pytest.raises(InputError, match="clip of 4 frames"):
        draws(FramesConfig(intervals=(2,)), count=4)


def test_order_of_coarse_frames_is_reversed_by_chance():
    found = {chosen.coarse for chosen, _ in draws(FramesConfig(reverse=0.5))}
    assert found == {(4, 5, 6), (6, 5, 4)}


def test_context_frames_lie_around_the_mapped_one():
    generator = np.random.default_rng(1)
    chosen, interval = draw_frames(FramesConfig(), 2, 6, number=1, generator=generator)
    mapped = tuple(3 + 5 * i for i in range(6))
    found = {draw_context(chosen, mapped, 40, interval, generator=generator).coarse for _ in range(60)}
    assert found == {(13 - s, 13, 13 + s) for s in (1, 2, 3)}
    near_end = draw_context(chosen, (9, 9, 1), 40, 1, generator=generator)
    assert near_end.coarse == (0, 1, 2)


@pytest.mark.parametrize(
    ("centre", "coarse", "sharp"), [(0, (2, 0, 1), (2, 1)), (4, (3, 4, 5), (3, 5)), (9, (8, 9, 7), (8, 7))]
)
def test_validation_takes_every_centre_and_never_gives_it_away(centre, coarse, sharp):
    found = frames_to_validate(FramesConfig(), centre, 10)
    assert (found.coarse, found.sharp) == (coarse, sharp)


def test_samples_have_the_frames_that_were_drawn(make_set):
    root = make_set()
    config = PairsConfig(
        sharp=root / "HR", coarse=root / "LR", meta=root / "meta.txt", partition="insect",
        patch=PatchConfig(side=32), frames=FramesConfig(sharp_reach=2), enlarge=3,
    )  # fmt: skip
    train, validation = open_pairs(config)
    assert len(train) == 2 * 8 * 3 and [one.name for one in validation.clips] == ["836"] and len(validation) == 8
    for index in (0, 9, 40):
        drawn = train.draw(index, generator=np.random.default_rng(index))
        made = train.make(drawn)
        assert {name: tuple(one.shape) for name, one in made.items()} == {
            "coarse": (3, 1, 8, 8), "sharp": (2, 1, 32, 32), "target": (1, 32, 32),
        }  # fmt: skip
        base = 10 * drawn["clip"]
        assert made["target"].unique().mul(255).round().tolist() == [base + drawn["centre"]]
        assert made["coarse"][:, 0, 0, 0].mul(255).round().tolist() == [base + i + 1 for i in drawn["coarse"]]
        assert made["sharp"][:, 0, 0, 0].mul(255).round().tolist() == [base + i for i in drawn["sharp"]]
        assert all(torch.equal(made[name], one) for name, one in train.make(drawn).items())
    first = validation.make(validation.draw(0, generator=np.random.default_rng(0)))
    assert first["target"].shape == (1, 64, 96) and first["coarse"].shape == (3, 1, 16, 24)


def test_sixteen_bits_stay(make_set):
    root = make_set(deep=True)
    train, _ = open_pairs(PairsConfig(sharp=root / "HR", coarse=root / "LR", patch=PatchConfig(side=32)))
    drawn = train.draw(3, generator=np.random.default_rng(0))
    levels = {(257 * (10 * k + drawn["centre"]) + 3) / 65535 for k in range(3)}
    assert any(float(train.make(drawn)["target"][0, 0, 0]) == pytest.approx(one, abs=1e-7) for one in levels)


def test_coarse_frames_on_the_sharp_grid_are_reduced(make_set):
    root = make_set(ratio=1)
    train, validation = open_pairs(PairsConfig(sharp=root / "HR", coarse=root / "LR", patch=PatchConfig(side=48)))
    assert train.make(train.draw(0, generator=np.random.default_rng(0)))["coarse"].shape == (3, 1, 12, 12)
    assert validation.make(validation.draw(0, generator=np.random.default_rng(0)))["coarse"].shape == (3, 1, 16, 24)


def test_context_mode_takes_coarse_frames_of_the_whole_recording(make_set, tmp_path):
    root = make_set(clips=(1, 2))
    for name in ("001", "002"):
        (root / "all" / name).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(np.full((16, 24), 100 + i, np.uint8)).save(root / "all" / name / f"{i:08d}.png")
    rows = [f"{name}, {i}, {3 * i + 2}" for name in ("001", "002") for i in range(8)]
    (root / "map.csv").write_text("case, paired index, unpaired index\n" + "\n".join(rows) + "\n")
    assert read_context_map(root / "map.csv")["001"][7] == 23
    config = PairsConfig(
        sharp=root / "HR", coarse=root / "LR", context=root / "all", context_map=root / "map.csv",
        patch=PatchConfig(side=32),
    )  # fmt: skip
    train, _ = open_pairs(config)
    drawn = train.draw(4, generator=np.random.default_rng(0))
    middle = 3 * drawn["centre"] + 2
    assert drawn["coarse"][1] == middle and 1 <= drawn["coarse"][2] - middle <= 2
    assert train.make(drawn)["coarse"][:, 0, 0, 0].mul(255).round().tolist() == [100 + i for i in drawn["coarse"]]
    (root / "map.csv").write_text("case, paired index, unpaired index\n001, 0, 0\n")
    with pytest.raises(InputError, match="says nothing of frame 1"):
        open_pairs(config)
    for outside in (-1, 30):
        (root / "map.csv").write_text(
            "\n".join(["case, paired index, unpaired index", *rows, f"002, 7, {outside}"]) + "\n"
        )
        with pytest.raises(InputError, match=f"30 frames, frame {outside} is mapped to"):
            open_pairs(config)
    (root / "map.csv").write_text("case, paired index, unpaired index\n001, 0, inf\n")
    with pytest.raises(InputError, match="line 2"):
        open_pairs(config)


def test_missing_partners_are_named(make_set):
    root = make_set()
    (root / "LR/270/00000003.png").unlink()
    with pytest.raises(InputError, match=r"lacks 00000003\.png"):
        open_clips(root / "HR", root / "LR")
    (root / "HR/270/00000003.png").unlink()
    with pytest.raises(InputError, match=r"holds 7 frames, 8 by meta\.txt"):
        open_clips(root / "HR", root / "LR", meta=root / "meta.txt")


def test_frames_that_do_not_fit_and_colours_are_refused(make_set):
    root = make_set(ratio=3)
    train, _ = open_pairs(PairsConfig(sharp=root / "HR", coarse=root / "LR", patch=PatchConfig(side=32)))
    with pytest.raises(InputError, match="four times as fine"):
        train.make(train.draw(0, generator=np.random.default_rng(0)))
    with pytest.raises(InputError, match="has colours"):
        unit_of(np.stack([np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)], -1))
    with pytest.raises(UsageError, match="folders of both cameras"):
        open_pairs(PairsConfig())
    with pytest.raises(UsageError, match="go together"):
        PairsConfig(context=root)


def test_meta_files_are_read_and_written(tmp_path):
    entries = [MetaEntry("240", 100, (720, 1280), 3), MetaEntry("a_1", 7, (40, 44), 1, 256)]
    write_meta(tmp_path / "meta.txt", entries)
    assert (tmp_path / "meta.txt").read_text() == "240 100 (720,1280,3)\na_1 7 (40,44,1) 256\n"
    assert read_meta(tmp_path / "meta.txt") == entries
    (tmp_path / "meta.txt").write_text("240 many (720,1280,3)\n")
    with pytest.raises(InputError, match="line 1"):
        read_meta(tmp_path / "meta.txt")


def test_partitions_hold_out_the_published_clips():
    names = [f"{i:03d}" for i in range(270)] + ["836", "536"]
    held = {name: held_out(names, name, share=0, seed=0) for name in ("REDS4", "official", "insect_addma", "none")}
    assert held["REDS4"] == {"000", "011", "015", "020"} and held["none"] == frozenset()
    assert held["official"] == {f"{i}" for i in range(240, 270)} and held["insect_addma"] == {"536", "836"}
    share = held_out(names, "share", share=0.1, seed=3)
    assert len(share) == 27 and share == held_out(names[::-1], "share", share=0.1, seed=3)
    assert len(held_out(["a", "b"], "share", share=0.1, seed=3)) == 1
    assert not held_out(["a"], "share", share=0.1, seed=3)


def ramp(rows=40, columns=48):
    sharp = np.arange(rows * columns, dtype=np.float32).reshape(1, rows, columns) / (rows * columns)
    coarse = sharp.reshape(1, rows // 4, 4, columns // 4, 4).mean(axis=(2, 4))
    return FrameSet(np.repeat(coarse, 3, 0), np.repeat(sharp, 2, 0), sharp)


@pytest.mark.parametrize(("partition", "trained"), [("share", ["001", "002"]), ("REDS4", ["002"])])
def test_clips_to_validate_on_are_never_trained_on(make_set, partition, trained):
    root = make_set(clips=(1, 2, 11))
    (root / "val.txt").write_text(f"{'011' if partition == 'share' else '001'} 8 (64,96,1)\n")
    config = PairsConfig(
        sharp=root / "HR", coarse=root / "LR", partition=partition, validation_sharp=root / "HR",
        validation_coarse=root / "LR", validation_meta=root / "val.txt", patch=PatchConfig(side=32),
    )  # fmt: skip
    train, validation = open_pairs(config)
    assert [one.name for one in train.clips] == trained
    assert [one.name for one in validation.clips] == ["011" if partition == "share" else "001"]


def test_both_grids_are_cut_and_turned_alike():
    config, frames = PatchConfig(side=32), ramp()
    seen = set()
    for seed in range(40):
        drawn = config.draw(generator=np.random.default_rng(seed))
        made = patch(frames, drawn, config)
        seen.add(tuple(drawn["turns"]))
        assert np.allclose(made.coarse[0], made.target[0].reshape(8, 4, 8, 4).mean(axis=(1, 3)), atol=1e-6)
    assert len(seen) == 8


def test_small_frames_are_reflected_alike():
    made = cut(ramp(40, 48), 64, (0, 0))
    assert np.array_equal(made.target[0, 40:], made.target[0, 39:15:-1])
    assert np.allclose(made.coarse[0], made.target[0].reshape(16, 4, 16, 4).mean(axis=(1, 3)), atol=1e-6)


def test_patches_are_drawn_where_something_changes():
    frames, config = ramp(256, 256), PatchConfig(side=32, where="changing", turn=False)
    sharp = frames.sharp.copy()
    sharp[1, 200:208, 40:48] += 1
    changed = frames._replace(sharp=sharp)
    for seed in range(5):
        drawn = config.draw(generator=np.random.default_rng(seed))
        made = patch(changed, drawn, config)
        assert np.abs(made.sharp[1] - made.sharp[0]).max() > 0.9


def test_noise_counts_photons():
    grey = np.full((3, 200, 200), 0.4, np.float32)
    made = counted(grey, 50.0, np.random.default_rng(0))
    assert made.mean() == pytest.approx(0.4, rel=0.01) and made.std() == pytest.approx(np.sqrt(0.4 / 50), rel=0.02)
    assert np.allclose(made * 50, np.round(made * 50), atol=1e-4)
    config = PatchConfig(side=32, photons=(1, 7))
    drawn = [config.draw(generator=np.random.default_rng(seed))["photons"] for seed in range(300)]
    assert min(drawn) >= 10 and max(drawn) <= 1e7 and np.log10(drawn).mean() == pytest.approx(4, abs=0.3)
    frames = FrameSet(grey, grey[:2, :, :].repeat(4, 1).repeat(4, 2), grey[:1].repeat(4, 1).repeat(4, 2))
    noisy = patch(frames, config.draw(generator=np.random.default_rng(0)) | {"photons": 20.0}, config)
    assert noisy.coarse.std() > 0.05 and noisy.sharp.std() == pytest.approx(0, abs=1e-6)


def test_frames_are_stretched_together():
    config = PatchConfig(side=32, turn=False, renormalise=0.01)
    made = patch(ramp(), config.draw(generator=np.random.default_rng(0)), config)
    pixels = np.concatenate([one.ravel() for one in made])
    assert (pixels.min(), pixels.max()) == (0, 1) and 0.005 < (pixels == 0).mean() < 0.02
