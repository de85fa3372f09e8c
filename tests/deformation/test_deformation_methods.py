"""Every method by one contract; flows that never fold; the habit that does."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.deformation import methods
from scanweave.deformation.diffeomorphic import Diffeomorphic
from scanweave.deformation.elastic import Elastic, FoldingWarning
from scanweave.deformation.fields import dense, smallest_determinant
from scanweave.deformation.learned import DrdmMethod
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.grid import Grid
from scanweave.models.drdm_compiled import CompileWarning
from scanweave.ops.displacement import magnitude
from scanweave.volume import Volume
from scanweave.weights.card import Card

GRID = Grid.spaced((12, 24, 20), (4.0, 1.5, 2.0))
SLICE = Grid.spaced((1, 24, 20), (4.0, 1.5, 2.0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["diffeomorphic", "elastic", "drdm"])
def method(request, drdm) -> methods.Method:
    if request.param == "drdm":
        return methods.create("drdm", weights=drdm(0.001, ndims=2, channels=1, steps=4), level=8)
    return methods.create(request.param)


@pytest.fixture
def grid(method) -> Grid:
    """The little network is of two dimensions."""
    return SLICE if method.name == "drdm" else GRID


@pytest.fixture
def volume(grid) -> Volume:
    drawn = np.random.default_rng(0).integers(-500, 1500, grid.shape).astype(np.int16)
    return Volume.from_array(drawn, affine=grid.affine)


class TestContract:
    def test_what_is_drawn_is_plain_json_and_its_beginning_does_not_depend_on_the_count(self, method, grid):
        drawn = method.sample(grid, 3, seeded())
        assert json.loads(json.dumps(drawn)) == drawn
        assert method.sample(grid, 1, seeded()) == drawn[:1]
        assert len({each["seed"] for each in drawn}) == 3

    def test_it_replays_exactly_and_one_by_one_as_together(self, method, grid, volume):
        drawn = method.sample(grid, 2, seeded())
        copies = method.apply(drawn, volume)
        again = [method.apply([each], volume)[0] for each in json.loads(json.dumps(drawn))]
        for one, other in zip(copies, again, strict=True):
            assert np.abs(one.voxels.astype(int) - other.voxels).max() <= 1  # a network's batches differ in last bits
        assert not np.array_equal(copies[0].voxels, copies[1].voxels)

    def test_volumes_keep_grid_and_dtype_and_labels_stay_what_they_are(self, method, grid, volume):
        labels = volume.with_voxels((np.abs(volume.voxels) // 500 * 1000).astype(np.uint16))
        drawn = method.sample(grid, 1, seeded())
        (image,) = method.apply(drawn, volume)
        (marked,) = method.apply(drawn, labels, image=volume, label=True)
        assert image.dtype == np.int16 and image.grid.matches(grid)
        assert marked.dtype == np.uint16 and set(np.unique(marked.voxels)) <= set(np.unique(labels.voxels))
        assert image.voxels.min() >= volume.voxels.min() and image.voxels.max() <= volume.voxels.max()

    def test_no_displacement_is_longer_than_allowed(self, method, grid, volume):
        kept = dataclasses.replace(method, max_displacement=1.5)
        (field,) = kept.fields(
            kept.sample(grid, 1, seeded()), grid, torch.rand(1, *methods.lattice(grid)[0], generator=seeded())
        )
        longest = float(magnitude(dense(field)[None], unit=methods.lattice(grid)[1]).amax())
        assert 0 < longest <= 1.5 * (1 + 1e-5)

    def test_it_describes_itself_and_refuses_none_and_nothing(self, method, grid):
        described = method.describe()
        assert described["name"] == method.name and json.dumps(described)
        with pytest.raises(UsageError, match="copies"):
            method.sample(grid, 0, seeded())
        with pytest.raises(UsageError, match="strength"):
            dataclasses.replace(method, strength=-1.0)


class TestDiffeomorphic:
    @settings(max_examples=12, deadline=None)
    @given(
        shape=st.tuples(st.integers(1, 24), st.integers(2, 40), st.integers(2, 40)),
        spacing=st.tuples(st.floats(0.5, 8), st.floats(0.5, 2), st.floats(0.5, 2)),
        seed=st.integers(0, 2**31),
    )
    def test_it_never_folds_and_keeps_the_image_within_itself(self, shape, spacing, seed):
        grid = Grid.spaced(shape, spacing)
        method = Diffeomorphic(max_displacement=0.1 * methods.extent(grid), least=1.0)
        (field,) = method.fields(method.sample(grid, 1, seeded(seed)), grid)
        assert smallest_determinant(field) > 0
        places = dense(field)
        for axis, size in enumerate(field.space):
            index = torch.arange(size).view([-1 if k == axis else 1 for k in range(len(field.space))])
            place = places[axis] + index
            assert float(place.min()) >= -1e-3 and float(place.max()) <= size - 1 + 1e-3
            assert float(places[axis].select(axis, 0).abs().max()) < 1e-4

    @pytest.mark.parametrize("shape", [(48, 48, 48), (1, 128, 128)])
    def test_it_does_not_fold_at_a_tenth_or_a_fifth_of_the_image_either(self, shape):
        grid = Grid.spaced(shape, (1, 1, 1))
        for share in (0.1, 0.2):
            reach = share * methods.extent(grid)
            method = Diffeomorphic(max_displacement=reach, least=1.0)
            for field in method.fields(method.sample(grid, 3, seeded()), grid):
                assert smallest_determinant(field) > 0.04
                assert 0.6 * reach < float(magnitude(dense(field)[None]).amax()) <= reach * (1 + 1e-5)

    def test_one_seed_is_one_deformation_whatever_the_voxels(self):
        coarse, fine = Grid.spaced((17, 17, 17), (4, 4, 4)), Grid.spaced((33, 33, 33), (2, 2, 2))
        method = Diffeomorphic(max_displacement=5.0)
        drawn = method.sample(coarse, 1, seeded())
        (few,), (many,) = method.fields(drawn, coarse), method.fields(drawn, fine)
        gap = 4 * dense(few) - 2 * dense(many)[:, ::2, ::2, ::2]
        assert float(gap.norm()) < 0.2 * float((4 * dense(few)).norm())

    def test_lengths_are_spread_as_asked_for(self):
        drawn = Diffeomorphic(max_displacement=10.0, least=0.2).sample(GRID, 50, seeded())
        lengths = [each["longest"] for each in drawn]
        assert 2.0 <= min(lengths) < 4.0 and 8.0 < max(lengths) <= 10.0

    def test_twice_the_strength_is_twice_the_length(self):
        one, two = (Diffeomorphic(strength=factor).sample(GRID, 1, seeded())[0]["longest"] for factor in (1.0, 2.0))
        assert two == pytest.approx(2 * one)

    @pytest.mark.parametrize("options", [{"least": 0.0}, {"control_spacing": -1.0}, {"max_displacement": float("nan")}])
    def test_options_that_no_flow_can_have_are_refused(self, options):
        with pytest.raises(UsageError):
            Diffeomorphic(**options)


class TestElastic:
    def test_it_warns_where_it_folds_and_is_silent_where_not(self):
        grid = Grid.spaced((24, 24, 24), (1, 1, 1))
        strong = Elastic(max_displacement=10.0, control_spacing=4.0)
        with pytest.warns(FoldingWarning, match="folds at"):
            (field,) = strong.fields(strong.sample(grid, 1, seeded()), grid)
        assert float(magnitude(dense(field)[None]).amax()) == pytest.approx(10.0, rel=1e-4)
        mild = Elastic(max_displacement=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mild.fields(mild.sample(grid, 1, seeded()), grid)

    def test_control_points_need_room(self):
        with pytest.raises(UsageError, match="apart"):
            Elastic(control_spacing=0.0)


class TestDrdm:
    def test_it_needs_weights_a_known_preset_and_the_image(self, drdm):
        with pytest.raises(WeightsError, match="weights"):
            methods.create("drdm")
        network = drdm(0.01, ndims=3, channels=1, steps=80)
        with pytest.raises(UsageError, match="preset"):
            DrdmMethod(weights=network, preset="wild")
        with pytest.raises(UsageError, match="level"):
            DrdmMethod(weights=network, level=-1)
        method = DrdmMethod(weights=network)
        with pytest.raises(UsageError, match="image"):
            method.fields(method.sample(GRID, 1, seeded()), GRID)

    def test_compiled_it_makes_the_same_fields_and_knows_what_its_weights_are_trained_on(self, drdm):
        network = drdm(0.05, steps=4)
        network.card = Card(network="drdm", config={}, origin="here", training={"config": {"data": {"side": 24}}})
        usual = DrdmMethod(weights=network, level=16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)  # where no compiler is, it is the same method
            compiled = dataclasses.replace(usual, compile=True)
            grid = Grid.spaced((1, 32, 40), (1, 1, 1))
            drawn = usual.sample(grid, 2, seeded())
            image = torch.rand(1, 32, 40, generator=seeded())
            made = [dense(field) for field in compiled.fields(drawn, grid, image)]
        for field, other in zip(usual.fields(drawn, grid, image), made, strict=True):
            torch.testing.assert_close(dense(field), other, atol=1e-3, rtol=0)
        assert compiled.trained == usual.trained and compiled.trained.side == 24
        with pytest.raises(UsageError, match="compiling speeds up the CPU, not cuda"):
            DrdmMethod(weights=network, compile=True, device="cuda")

    def test_its_description_tells_the_weights_by_their_hash(self, drdm):
        one, other = (DrdmMethod(weights=drdm(scale, ndims=2, channels=1, steps=8)) for scale in (0.01, 0.02))
        assert one.describe()["sha256"] != other.describe()["sha256"]


class TestRegistry:
    def test_names_options_and_methods_themselves(self):
        assert set(methods.available()) >= {"diffeomorphic", "elastic", "drdm"}
        assert set(methods.ready()) >= {"diffeomorphic", "elastic"} and "drdm" not in methods.ready()
        made = methods.create("diffeomorphic", least=0.7)
        assert methods.create(made) is made and isinstance(made, methods.Method)
        with pytest.raises(UsageError, match="no deformation method is called"):
            methods.create("wobble")
        with pytest.raises(UsageError, match="has no option level"):
            methods.create("elastic", level=3)

    def test_a_name_is_taken_once_and_must_give_a_method(self):
        registry = methods.Registry("thing", group="scanweave.no-such-group", protocol=methods.Method, has="fields")
        registry.register("one", dict)
        with pytest.raises(ValueError, match="already"):
            registry.register("one", dict)
        with pytest.raises(UsageError, match="gave a dict"):
            registry.create("one")

    def test_a_method_of_ones_own_needs_little(self):
        volume = Volume.from_array(np.arange(5760, dtype=np.int16).reshape(GRID.shape), affine=GRID.affine)

        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Still(methods.DeformationMethod):
            name: ClassVar[str] = "still"

            def fields(self, params, grid, image=None):
                from scanweave.deformation.fields import DenseField

                return [DenseField(torch.zeros(3, *grid.shape)) for _ in params]

        method = methods.create(Still())
        assert np.array_equal(method.apply(method.sample(GRID, 1, seeded()), volume)[0].voxels, volume.voxels)
        with pytest.raises(InputError, match="whole numbers"):
            method.apply(method.sample(GRID, 1, seeded()), volume.with_voxels(volume.real()), label=True)
