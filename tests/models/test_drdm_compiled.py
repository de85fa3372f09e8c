"""DRDM's compiled passes give the network's numbers. Where no compiler is, `compiled` gives the network itself."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from scanweave import weights
from scanweave.models import Drdm, DrdmConfig
from scanweave.models.drdm_compiled import CompiledDrdm, CompileWarning, compiled

# absolute tolerances of the goldens, by recursions, as for the network itself
EXTREME = {1: 5e-6, 2: 1e-3, 3: 5e-2}
USUAL = {1: 5e-6, 2: 5e-6, 3: 5e-6}


def quietly(network: Drdm) -> Drdm:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        return compiled(network)


def random_image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("case", "scale", "config", "tolerances"),
    [
        ("net2d_fill", 1.0, {}, EXTREME),
        ("net2d_fill_small", 0.05, {}, USUAL),
        ("net2d_fill_clamp", 4.0, {}, EXTREME),
        ("net2d_fill_chn3", 0.05, {"channels": 3}, USUAL),
    ],
)
def test_golden_displacements(case, scale, config, tolerances, drdm, vectors, agree):
    arrays = vectors(f"drdm/{case}")
    network = quietly(drdm(scale, **config))
    image, step = (torch.from_numpy(arrays[name]) for name in ("x", "t"))
    checked = [recursions for recursions in tolerances if f"ddf_rec{recursions}" in arrays]
    assert checked
    for recursions in checked:
        agree(network(image, step, recursions=recursions), arrays[f"ddf_rec{recursions}"], tolerances[recursions])


@pytest.mark.reference
def test_real_weights(reference, agree):
    network = weights.load_published("drdm", reference / "data" / "drdm" / "000000_cmr_recresacnet.pth")
    image = random_image(1, 1, 256, 256)
    agree(quietly(network)(image, 60, recursions=1), network(image, 60, recursions=1).numpy(), 5e-6)


@pytest.mark.parametrize("space", [(16, 8), (8, 24), (40, 72), (24, 136)])
def test_any_legal_size_agrees_with_the_network(space, drdm):
    network = drdm(0.5)
    image = random_image(2, 1, *space)
    steps = torch.tensor([3, 60])
    torch.testing.assert_close(
        quietly(network)(image, steps, recursions=1), network(image, steps, recursions=1), atol=5e-6, rtol=1e-5
    )


def test_neither_company_nor_threads_nor_earlier_sizes_change_a_bit(drdm):
    known = torch.get_num_threads()
    network = quietly(drdm(0.5))
    if not isinstance(network, CompiledDrdm):
        return
    image = random_image(3, 1, 40, 24)
    try:
        torch.set_num_threads(1)
        made = network(image, 40)
        network(random_image(1, 1, 64, 16), 40)
        assert torch.equal(network(image[2:], 40), made[2:])
        torch.set_num_threads(3)
        assert torch.equal(network(image, 40), made)
    finally:
        torch.set_num_threads(known)


def test_gradients_and_other_precisions_go_the_usual_way(drdm):
    plain = drdm(0.05)
    network = quietly(plain)
    image = random_image(1, 1, 16, 16)
    with torch.enable_grad():
        given = image.clone().requires_grad_(True)
        network(given, 5).square().sum().backward()
        assert given.grad is not None and float(given.grad.abs().sum()) > 0
    double = copy.deepcopy(network).double()(image.double(), 5)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), plain(image, 5), atol=1e-6, rtol=0)


def test_weights_that_are_loaded_later_are_used(drdm):
    other = drdm(0.2)
    network = quietly(drdm(0.05))
    network.load_state_dict(other.state_dict())
    image = random_image(1, 1, 16, 24)
    torch.testing.assert_close(network(image, 5), other(image, 5), atol=5e-6, rtol=1e-5)


def test_what_cannot_be_compiled_runs_as_it_is_with_a_warning(drdm, monkeypatch):
    network = drdm(0.05, ndims=3)
    with pytest.warns(CompileWarning, match="two dimensions"):
        assert compiled(network) is network
    from scanweave.errors import ResourceError
    from scanweave.models import drdm_compiled

    def nothing(source):
        raise ResourceError("there is no C++ compiler")

    drdm_compiled._functions.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(drdm_compiled, "library", nothing)
        flat = Drdm(DrdmConfig())
        with pytest.warns(CompileWarning, match="no C\\+\\+ compiler"):
            assert compiled(flat) is flat
    drdm_compiled._functions.cache_clear()
