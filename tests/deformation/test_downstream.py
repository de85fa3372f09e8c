"""The downstream protocols of ``benchmarks/``, at a tiny size: fair between arms, repeatable, and scored rightly."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.ops.displacement import warp

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def protocols():
    """The modules downstream, segmentation and registration; on one thread, as small networks run best."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield [importlib.import_module(name) for name in ("downstream", "segmentation", "registration")]
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def segmented(protocols):
    """A tiny run of the segmentation protocol, and its plan."""
    downstream, segmentation, _ = protocols
    plan = segmentation.Plan(labelled=(1, 2), draws=1, copies=2, steps=40, held_out=4)
    return segmentation.run(plan, downstream.chosen_methods(None)), plan


@pytest.fixture(scope="module")
def registered(protocols):
    """A tiny run of the registration protocol, and its plan."""
    downstream, _, registration = protocols
    plan = registration.Plan(hearts=3, pairs=2, networks=1, steps=120, held_out=4)
    return registration.run(plan, downstream.chosen_methods(None)), plan


def test_hearts_are_drawn_from_their_numbers_alone(protocols):
    downstream, _, _ = protocols
    one, same, other = downstream.heart(1, 5), downstream.heart(1, 5), downstream.heart(2, 5)
    assert len(one) == 3
    for mine, again, theirs in zip(one, same, other, strict=True):
        assert np.array_equal(mine.image.voxels, again.image.voxels)
        assert not np.array_equal(mine.label.voxels, theirs.label.voxels)
        assert set(np.unique(mine.label.voxels)) == {0, 1, 2, 3}
        assert (mine.image.voxels.min(), mine.image.voxels.max()) == (0, 1)


def test_dice_counts_all_slices_of_a_subject_together(protocols):
    downstream, _, _ = protocols
    truth = torch.zeros(2, 2, 4, 4, dtype=torch.uint8)
    truth[:, 0, :2], truth[:, 1, :2], truth[:1, 1, 2:] = 1, 2, 3
    found = truth.clone()
    found[0, 0, 1] = 0  # half of label 1 is missed: 2 * 4 / (4 + 8)
    assert downstream.dice(found, truth) == pytest.approx(np.array([[2 / 3, 1, 1], [1, 1, np.nan]]), nan_ok=True)


def test_arms_are_compared_case_by_case(protocols):
    downstream, _, _ = protocols
    easy = np.array([0.9, 0.5, 0.7])
    said = downstream.ranking({"none": easy - 0.1, "elastic": easy, "drdm": easy - 0.05})
    assert said == "elastic is best; to it, drdm -0.050 [-0.050, -0.050]; none -0.100 [-0.100, -0.100]"
    assert downstream.told(np.array([np.nan])) == "–"


def test_without_weights_the_table_says_that_drdm_is_left_out(protocols, tmp_path, capsys):
    downstream, _, _ = protocols
    options = argparse.Namespace(weights=None, quick=True, threads=torch.get_num_threads(), output=tmp_path / "told.md")
    downstream.report("segmentation", options, lambda methods: ", ".join(methods))
    text = (tmp_path / "told.md").read_text()
    assert text.startswith("`python benchmarks/segmentation.py --quick`") and "drdm is left out" in text
    assert text.endswith("elastic, diffeomorphic\n") and text in capsys.readouterr().out


def test_every_arm_of_segmentation_takes_the_same_steps_and_beats_an_untrained_network(protocols, segmented):
    downstream, segmentation, _ = protocols
    results, plan = segmented
    arms = {one.arm for one in results.scores}
    assert arms == {"none", "elastic", "diffeomorphic"} and len(results.scores) == len(arms) * len(plan.labelled)
    assert {one.steps for one in results.scores} == {plan.steps}
    assert {len(made) for made in results.copies.values()} == {plan.copies * 3 * max(plan.labelled)}
    assert all(copy.checks.folded == 0 for copy in results.copies["diffeomorphic"])
    for made in results.copies.values():  # of no two slices, hearts or copies is it the same
        assert len({copy.params["seed"] for copy in made}) == len(made)
    hearts = [downstream.heart(2, number) for number in range(plan.held_out)]
    untrained = segmentation.scored(downstream.small_unet(1, 4, seed=0), hearts).mean()
    assert all(one.dice.mean() > untrained + 0.1 for one in results.scores)


def test_the_same_seeds_give_the_same_tables(protocols):
    downstream, segmentation, registration = protocols
    methods = {"elastic": downstream.chosen_methods(None)["elastic"]}
    for module, plan in (
        (segmentation, segmentation.Plan(labelled=(1,), draws=1, copies=1, steps=4, held_out=2)),
        (registration, registration.Plan(hearts=1, pairs=1, networks=1, steps=4, held_out=2)),
    ):
        first, again = (module.tables(plan, module.run(plan, methods)) for _ in range(2))
        other = module.tables(plan, module.run(dataclasses.replace(plan, steps=5), methods))
        assert first == again and first != other


def test_the_field_between_two_phases_is_the_true_one(protocols):
    _, _, registration = protocols
    pairs = registration.phases(4)
    still = registration.scored(torch.zeros_like(pairs.truth), pairs)
    true = registration.scored(pairs.truth, pairs)
    assert true.dice.min() > 0.85 and true.error.max() == 0 and true.folded.max() == 0
    assert still.dice.mean() < true.dice.mean() - 0.1 and still.error.min() > 1
    shown = warp(pairs.moving, pairs.truth, padding="border")
    away = [(one - pairs.fixed)[..., 8:-8, 8:-8].abs().mean() for one in (shown, pairs.moving)]
    assert away[0] < 0.75 * away[1]  # what is left is the noise of both


def test_demons_and_what_learnt_from_pairs_register_other_hearts(registered):
    results, plan = registered
    assert set(results.scores) == {"phases", "strangers"}
    for name, scores in results.scores.items():
        assert set(scores) == {"none", "demons", "elastic", "diffeomorphic"}
        assert {one.steps for arm, one in scores.items() if arm not in ("none", "demons")} == {plan.steps}
        assert scores["demons"].dice.mean() > scores["none"].dice.mean()
        assert np.isnan(scores["none"].error).all() == (name == "strangers")
    found = results.scores["phases"]
    assert found["diffeomorphic"].error.mean() < found["none"].error.mean()
    assert found["demons"].error.mean() < found["none"].error.mean()


def test_drdm_takes_part_when_it_is_given_weights(protocols, drdm, tmp_path):
    downstream, segmentation, _ = protocols
    path = tmp_path / "000000_cmr_recresacnet.pth"
    weights.export_published("drdm", drdm(0.01), path)
    methods = downstream.chosen_methods(path)
    assert list(methods) == ["elastic", "diffeomorphic", "drdm"]
    generator = torch.Generator().manual_seed(0)
    (copy,) = segmentation.copies_of(downstream.heart(1, 0)[:1], methods["drdm"], 1, generator)
    assert copy.checks.folded == 0 and 0 < copy.checks.largest_mm <= methods["drdm"].max_displacement * 1.0001
    assert "| drdm | 1 |" in downstream.deformation_table({"drdm": [copy]})
