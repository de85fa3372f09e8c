"""Small networks and files of their weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scanweave import weights
from scanweave.models import MostDsa, MostDsaConfig, SuperSlomo, SuperSlomoConfig

TINY = {"width": 4, "depths": (1, 2, 1, 2), "heads": 2, "key": 4, "context": 5}


@pytest.fixture(scope="session")
def fill(goldens: Path) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """The function that made the golden weights: from key and shape alone."""
    spec = importlib.util.spec_from_file_location("golden_fill", goldens / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill_state_dict


@pytest.fixture(scope="session")
def most_dsa(fill) -> MostDsa:
    network = MostDsa(MostDsaConfig(**TINY))
    network.load_state_dict(fill(network.state_dict()))
    return network.eval()


@pytest.fixture
def dsa_state(most_dsa) -> dict[str, Tensor]:
    """The tensors of a published MoSt-DSA file, to be spoilt at will."""
    return {f"module.{key}": tensor.clone() for key, tensor in most_dsa.state_dict().items()}


@pytest.fixture
def dsa_file(dsa_state, tmp_path) -> Path:
    torch.save(dsa_state, tmp_path / "Inf2.pkl")
    return tmp_path / "Inf2.pkl"


@pytest.fixture(scope="session")
def slomo_states() -> dict[str, dict[str, Tensor]]:
    """The two state dicts of Super-SloMo, 151 MiB, each tensor of one value of its own."""
    network = SuperSlomo()
    parts = {"state_dictFC": network.flow, "state_dictAT": network.refine}
    return {
        part: {key: torch.full_like(t, 0.001 * (i + 1)) for i, (key, t) in enumerate(net.state_dict().items())}
        for part, net in parts.items()
    }


@pytest.fixture(scope="session")
def slomo(slomo_states) -> SuperSlomo:
    network = SuperSlomo(SuperSlomoConfig(warp_convention="corner"))
    network.flow.load_state_dict(slomo_states["state_dictFC"], assign=True)
    network.refine.load_state_dict(slomo_states["state_dictAT"], assign=True)
    return network.eval()


@pytest.fixture(scope="session")
def same() -> Callable[[nn.Module, nn.Module], None]:
    """Assert that two networks have one config, the same keys in order, and the same numbers."""

    def check(one: nn.Module, other: nn.Module) -> None:
        assert one.config == other.config
        assert list(one.state_dict()) == list(other.state_dict())
        for mine, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)
        assert not other.training
        assert weights.card_of(other).network == weights.card_of(one).network

    return check
