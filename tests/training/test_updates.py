"""One step: whose gradients, which parts, which rates, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scanweave.errors import ScanweaveError, UsageError
from scanweave.training import Update
from scanweave.training.guard import GradientRule, LossWatch
from scanweave.training.order import Order


def batches_of(recipe, *, batch, steps, seed=0):
    """The batches that the engine will give, by hand."""
    samples = recipe.samples()
    order = Order(samples, seed, batch)
    for drawn in order.parts_of(0, start=0, stop=steps):
        made = [samples.make(one) for one in drawn]
        yield {key: torch.stack([sample[key] for sample in made]) for key in made[0]}


def test_a_step_is_that_of_a_plain_loop(toys, fit):
    recipe, plain = toys.Regression(), toys.Regression()
    fit(recipe, steps=5)
    for step, batch in enumerate(batches_of(plain, batch=4, steps=5)):
        plain.optimizer.param_groups[0]["lr"] = plain.learning_rate(step)["net"]
        plain.optimizer.zero_grad()
        (update,) = plain.updates(batch, step)
        update.loss.backward()
        plain.optimizer.step()
    for ours, theirs in zip(recipe.net.parameters(), plain.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert recipe.seen == plain.seen


def test_a_gan_steps_each_network_by_its_own_loss_in_turn(toys, fit):
    recipe, plain = toys.Gan(), toys.Gan()
    fit(recipe, steps=4)
    for batch in batches_of(plain, batch=4, steps=4):
        real = batch["x"].clone().requires_grad_()
        fake, scores = plain.g(batch["x"]).detach(), plain.d(real)
        slope = torch.autograd.grad(scores.sum(), real, create_graph=True)[0]
        loss = F.softplus(plain.d(fake)).mean() + F.softplus(-scores).mean() + 5 * slope.square().sum(1).mean()
        plain.both["d"].zero_grad()
        loss.backward()
        plain.both["d"].step()
        plain.both["g"].zero_grad()
        F.softplus(-plain.d(plain.g(batch["x"]))).mean().backward()
        plain.both["g"].step()
    for name in ("g", "d"):
        for ours, theirs in zip(recipe.modules()[name].parameters(), plain.modules()[name].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Regression", "Gan"])
def test_accumulated_parts_take_the_step_of_the_whole_batch(toys, fit, name):
    whole, parted = getattr(toys, name)(), getattr(toys, name)()
    fit(whole, name="whole", batch=8, steps=6, clip_norm=0.5)
    fit(parted, name="parted", batch=8, steps=6, clip_norm=0.5, accumulate=4)
    for module, other in zip(whole.modules().values(), parted.modules().values(), strict=True):
        for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_an_average_of_weights_has_its_closed_form(toys, fit, state_of, tmp_path):
    class Counting(toys.Regression):
        """Its one weight is k after k steps."""

        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1, bias=False)
            nn.init.zeros_(self.net.weight)
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1.0)

        def learning_rate(self, step):
            return {}

        def updates(self, batch, step):
            yield Update("net", -self.net.weight.sum())

        def validate(self, batch):
            return {"error": self.net.weight.reshape(1).double()}

    decay, steps = 0.75, 9
    recipe = Counting()
    recipe.decay = decay
    outcome = fit(recipe, steps=steps)
    # a_k = d a_(k-1) + (1 - d) k with a_0 = 0
    expected = sum((1 - decay) * decay ** (steps - k) * k for k in range(1, steps + 1))
    assert state_of(tmp_path / "run")["/averages/net/weight"].item() == pytest.approx(expected, rel=1e-6)
    assert outcome.scores["error"] == pytest.approx(expected, rel=1e-6), "validated with averaged weights"
    assert recipe.net.weight.item() == steps, "and the weights themselves are back afterwards"


def test_a_score_is_the_mean_over_the_samples_that_have_it(toys, fit):
    class Sometimes(toys.Regression):
        def validate(self, batch):
            index = batch["index"].double()
            some = torch.where(index % 3 == 1, index, torch.nan)
            return {"error": some, "never": some * torch.nan}

    scores = fit(Sometimes(), steps=1, validate_every=1, validation_batch=2).scores
    assert scores["error"] == (1 + 4) / 2 and math.isnan(scores["never"])


def test_parameters_are_frozen_by_step_and_the_longest_prefix_decides(toys, fit):
    class Frozen(toys.Regression):
        def trainable(self, step):
            return {"net": False, "net.3": True, "net.3.bias": False} if step < 2 else {}

    recipe = Frozen()
    before = copy.deepcopy(recipe.net.state_dict())
    fit(recipe, steps=2)
    changed = {key for key, tensor in recipe.net.state_dict().items() if not torch.equal(tensor, before[key])}
    assert changed == {"3.weight"}
    fit(recipe, name="longer", steps=3)
    assert {key for key, tensor in recipe.net.state_dict().items() if not torch.equal(tensor, before[key])} == set(
        before
    )


def test_a_frozen_prefix_that_fits_nothing_is_refused(toys, fit):
    class Misspelt(toys.Regression):
        def trainable(self, step):
            return {"net.fusion": False}

    with pytest.raises(UsageError, match=r"net\.fusion"):
        fit(Misspelt())


def test_rates_of_a_table_reach_the_optimizer_before_the_step(toys, fit, events_of, tmp_path):
    class Table(toys.Regression):
        def learning_rate(self, step):
            return {"net": [0.0, 0.5, 0.25][step]}

    recipe = Table()
    before = copy.deepcopy(recipe.net.state_dict())
    fit(recipe, steps=1)
    assert all(torch.equal(tensor, before[key]) for key, tensor in recipe.net.state_dict().items()), "rate 0"
    fit(Table(), name="all", steps=3, log_every=1)
    rates = [event["rate/net"] for event in events_of(tmp_path / "all") if event["event"] == "train"]
    assert rates == [0.0, 0.5, 0.25]


def test_gradients_are_clipped_to_the_norm(toys, fit):
    class Steep(toys.Regression):
        def __init__(self):
            super().__init__()
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1.0)

        def learning_rate(self, step):
            return {}

        def updates(self, batch, step):
            for update in super().updates(batch, step):
                yield Update("net", 1e4 * update.loss)

    recipe = Steep()
    before = copy.deepcopy(recipe.net.state_dict())
    fit(recipe, steps=1, clip_norm=0.125)
    moved = torch.cat([(t - before[key]).flatten() for key, t in recipe.net.state_dict().items()])
    assert moved.norm().item() == pytest.approx(0.125, rel=1e-4)


class Poisoned:
    """Makes the gradient of the first weight infinite at some steps."""

    def __init__(self, toys, steps):
        class Recipe(toys.Regression):
            def on_gradients(self, optimizer, parameters, step):
                if step in steps:
                    parameters[0].grad[0, 0] = float("nan")
                    parameters[1].grad[0] = float("inf")

        self.recipe = Recipe


def test_skips_in_a_row_are_those_of_one_optimizer():
    rule = GradientRule("skip", 3)
    gradients = [torch.full((2,), float("inf"))]
    for _ in range(2):
        assert rule.passes("critic", 1.0, gradients)
        assert not rule.passes("generator", float("inf"), gradients)
    again = GradientRule("skip", 3)
    again.load_state_dict(rule.state_dict())
    assert again.passes("critic", 1.0, gradients)
    with pytest.raises(ScanweaveError, match="of 'generator' were not finite 3 updates in a row"):
        again.passes("generator", float("inf"), gradients)


def test_an_update_with_infinite_gradients_is_skipped_and_counted(toys, fit):
    poisoned, clean = Poisoned(toys, {2}).recipe(), toys.Regression()
    outcome = fit(poisoned, steps=3)
    fit(clean, name="clean", steps=2)
    assert outcome.skipped == 1
    for ours, theirs in zip(poisoned.net.parameters(), clean.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_infinite_gradients_become_zero_by_rule(toys, fit):
    poisoned = Poisoned(toys, {0}).recipe()
    poisoned.optimizer = torch.optim.SGD(poisoned.net.parameters(), lr=1.0)
    before = copy.deepcopy(poisoned.net.state_dict())
    assert fit(poisoned, steps=1, non_finite="zero", clip_norm=1.0).skipped == 0
    moved = {key: t - before[key] for key, t in poisoned.net.state_dict().items()}
    assert moved["0.weight"][0, 0] == 0
    assert moved["0.bias"][0] == 0
    assert moved["0.weight"][1].abs().sum() > 0


def test_training_stops_by_rule_or_after_too_many_skips(toys, fit):
    with pytest.raises(ScanweaveError, match="not finite"):
        fit(Poisoned(toys, {1}).recipe(), non_finite="stop")
    with pytest.raises(ScanweaveError, match="3 updates in a row"):
        fit(Poisoned(toys, range(99)).recipe(), name="many", steps=9, non_finite_limit=3)


def test_a_loss_that_explodes_stops_with_the_batch_that_did_it(toys, fit, tmp_path):
    class Exploding(toys.Regression):
        def updates(self, batch, step):
            for update in super().updates(batch, step):
                yield Update("net", update.loss * (1e9 if step == 30 else 1))

    recipe = Exploding()
    with pytest.raises(ScanweaveError, match="step 30: the loss of 'net' is ") as stop:
        fit(recipe, steps=40, accumulate=2)
    written = json.loads((tmp_path / "run" / "exploded_step_0000030.json").read_text())
    assert str(tmp_path / "run" / "exploded_step_0000030.json") in str(stop.value)
    assert [sample["index"] for sample in written["samples"]] == recipe.seen[-2] + recipe.seen[-1]
    samples = recipe.samples()
    replayed = [samples.make(sample["drawn"])["index"].item() for sample in written["samples"]]
    assert replayed == recipe.seen[-2] + recipe.seen[-1]
    assert len(written["loss_by_rank_and_part"][0]) == 2


def test_a_loss_explodes_against_what_it_usually_is():
    watch = LossWatch(100.0)
    for k in range(50):
        assert watch.exploded("d", 1.0 + 0.1 * (k % 3)) is None
    other = LossWatch(100.0)
    other.load_state_dict(watch.state_dict())
    for one in (watch, other):
        assert one.exploded("d", 90.0) is None, "a spike"
        assert "running median 1.1" in one.exploded("d", 120.0)
        assert one.exploded("g", 120.0) is None, "the first loss of another optimizer"
    for _ in range(200):
        watch.exploded("d", 1e-9)
    assert watch.exploded("d", 0.5) is None, "one hard sample, where the loss had come near zero"
    negative = LossWatch(100.0)
    for k in range(50):
        negative.exploded("d", -1.0 - 0.1 * (k % 3))
    assert negative.exploded("d", 1.0) is None
    assert negative.exploded("d", 500.0) is not None
    assert LossWatch(None).exploded("d", float("nan")) is None


def test_a_loss_that_is_no_number_stops(toys, fit):
    class NotANumber(toys.Regression):
        def updates(self, batch, step):
            for update in super().updates(batch, step):
                yield Update("net", update.loss * float("nan"))

    with pytest.raises(ScanweaveError, match="is nan"):
        fit(NotANumber())
    with pytest.raises(ScanweaveError, match="in a row"):
        fit(NotANumber(), name="unwatched", steps=30, explode=None)


def test_dropout_is_decided_by_seed_and_step(toys, fit):
    """Not by what else drew from torch's generators, which are left as they were."""
    one, other = toys.Regression(dropout=0.5), toys.Regression(dropout=0.5)
    fit(one, name="one")
    torch.manual_seed(99)
    expected = torch.rand(1, generator=torch.Generator().manual_seed(99))
    fit(other, name="other")
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True))


def test_bfloat16_runs_forward_passes_at_low_precision_and_keeps_weights(toys, fit):
    kinds = []

    class Watching(toys.Regression):
        def updates(self, batch, step):
            kinds.append(self.net(batch["x"]).dtype)
            yield from super().updates(batch, step)

    recipe = Watching()
    fit(recipe, precision="bfloat16")
    assert set(kinds) == {torch.bfloat16}
    assert {parameter.dtype for parameter in recipe.net.parameters()} == {torch.float32}


def test_float16_lowers_the_scale_of_gradients_until_they_fit(toys, fit):
    recipe, precise, resumed = toys.Regression(), toys.Regression(), toys.Regression()
    for parameter in (p for toy in (recipe, precise, resumed) for p in toy.fixed.parameters()):
        parameter.mul_(10)  # so that gradients times 65536 do not fit into 16 bits
    outcome = fit(recipe, precision="float16", steps=30, clip_norm=1.0, explode=None)
    assert 0 < outcome.skipped < 20
    assert {parameter.dtype for parameter in recipe.net.parameters()} == {torch.float32}
    fit(precise, name="precise", steps=30, clip_norm=1.0)
    before = toys.Regression().net.state_dict()
    for key, tensor in recipe.net.state_dict().items():
        moved, wanted = tensor - before[key], precise.net.state_dict()[key] - before[key]
        assert torch.nn.functional.cosine_similarity(moved.flatten(), wanted.flatten(), dim=0) > 0.5
    for steps in (2, 30):
        fit(resumed, name="resumed", precision="float16", steps=steps, clip_norm=1.0, explode=None, resume=steps > 2)
    assert all(torch.equal(a, b) for a, b in zip(recipe.net.parameters(), resumed.net.parameters(), strict=True))


def test_float16_skips_what_the_recipe_itself_made_infinite(toys, fit):
    options = {"precision": "float16", "steps": 6, "explode": None}
    overflows = fit(toys.Regression(), name="clean", **options).skipped
    assert fit(Poisoned(toys, {4, 5}).recipe(), **options).skipped == overflows + 2


def test_recipes_that_contradict_themselves_are_refused(toys, fit):
    class Lost(toys.Regression):
        def modules(self):
            return {"fixed": self.fixed}

    class Unknown(toys.Regression):
        def updates(self, batch, step):
            yield Update("nothing", self.net(batch["x"]).mean())

    class Detached(toys.Regression):
        def updates(self, batch, step):
            yield Update("net", self.net(batch["x"]).mean().detach())

    class Wide(toys.Regression):
        def updates(self, batch, step):
            yield Update("net", self.net(batch["x"]))

    class Uneven(toys.Regression):
        def updates(self, batch, step):
            yield from islice(super().updates(batch, step), int(batch["index"][0] % 2))

    for number, (kind, words) in enumerate(
        [(Lost, "none of the recipe's modules"), (Unknown, "'nothing'"), (Detached, "depends on no"), (Wide, "shape")]
    ):
        with pytest.raises(UsageError, match=words):
            fit(kind(), name=str(number))
    with pytest.raises(UsageError, match="of the 2 parts"):
        fit(Uneven(), name="uneven", accumulate=2, steps=30)
