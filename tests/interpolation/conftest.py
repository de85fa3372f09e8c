"""Methods that are ready to run: those with weights get small or shared networks with reproducible ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scanweave.interpolation.methods import Method, create
from scanweave.models import MostDsa, MostDsaConfig


@pytest.fixture(scope="session")
def small_dsa(fill) -> MostDsa:
    """MoSt-DSA of half the width and one layer per stage, so that every test is quick."""
    network = MostDsa(MostDsaConfig(width=16, depths=(1, 1, 1, 1)))
    network.load_state_dict(fill(network.state_dict()))
    return network.eval()


@pytest.fixture(scope="session")
def ready_method(small_dsa, slomo) -> Callable[[str], Method]:
    """The method of a name, with weights where it needs them; networks are arranged once."""
    networks = {
        "most-dsa": create("most-dsa", weights=small_dsa, device="cpu"),
        "super-slomo": create("super-slomo", weights=slomo("half_pixel"), device="cpu"),
    }
    return lambda name: networks.get(name) or create(name)
