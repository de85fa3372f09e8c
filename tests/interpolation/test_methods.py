"""The registry of methods: names, options, and methods of installed packages."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from scanweave.cine import Cine
from scanweave.errors import UsageError
from scanweave.interpolation.methods import DEFAULT_METHOD, Hold, Linear, Method, available, create, register

BUILT_IN = ("hold", "linear", "minterpolate", "optical-flow")


def install(folder: Path, name: str, target: str, code: str) -> None:
    """Lay a distribution with one entry point into a folder, as an installer would."""
    package = f"scanweave_{name.replace('-', '_')}"
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[scanweave.interpolation]\n{name} = {package}:{target}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return tmp_path


def test_built_in_methods_are_known():
    assert set(BUILT_IN) <= set(available())
    assert DEFAULT_METHOD in available()


@pytest.mark.parametrize("name", BUILT_IN)
def test_created_methods_bear_their_name(name):
    method = create(name)
    assert isinstance(method, Method)
    assert method.name == name


def test_a_method_object_is_returned_as_it_is():
    method = Linear()
    assert create(method) is method


def test_options_reach_the_method():
    assert create("optical-flow", presmooth=2.0).describe()["presmooth"] == 2.0


@pytest.mark.parametrize("name", BUILT_IN)
def test_unknown_option(name):
    with pytest.raises(UsageError, match=name):
        create(name, no_such_option=1)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="no-such-method") as caught:
        create("no-such-method")
    assert all(name in str(caught.value) for name in BUILT_IN)


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="registered already"):
        register("hold", Hold)


def test_method_of_an_installed_package(site):
    code = (
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from scanweave.interpolation.methods import Made, PairwiseMethod\n"
        "@dataclass(frozen=True)\n"
        "class Dark(PairwiseMethod):\n"
        "    name = 'dark'\n"
        "    level: float = 0.0\n"
        "    def prepare_pair(self, first, second):\n"
        "        return lambda t: Made(torch.full((len(t), *first.shape[1:]), self.level))\n"
    )
    install(site, "dark", "Dark", code)
    assert "dark" in available()
    method = create("dark", level=0.25)
    assert isinstance(method, Method)
    cine = Cine.from_array(torch.ones(2, 3, 4).numpy(), levels=(0, 1))
    made = method.fit(cine).prepare(0, 1).at([0.0, 0.5])
    assert made.frames[0].unique().tolist() == [1.0]
    assert made.frames[1].unique().tolist() == [0.25]
    assert method.describe() == {"name": "dark", "level": 0.25}


@pytest.mark.parametrize(
    ("name", "target", "code", "reason"),
    [
        # Each is a module of its own: Python keeps what it has imported.
        ("gone", "Gone", "", "AttributeError"),
        ("needy", "Broken", "import a_module_that_nobody_has", "ModuleNotFoundError"),
        ("locked", "Broken", "raise RuntimeError('no licence')", "no licence"),
        ("garbled", "Broken", "Broken = (", "SyntaxError"),
        ("plain", "Plain", "class Plain: pass", "which has not name, fit and describe"),
    ],
)
def test_broken_package_is_named_and_harms_nobody_else(site, name, target, code, reason):
    install(site, name, target, code)
    assert name in available()
    assert create("linear").name == "linear"
    with pytest.raises(UsageError, match=reason) as caught:
        create(name)
    assert name in str(caught.value)


def test_built_in_names_cannot_be_taken_over(site):
    install(site, "linear", "Linear", "raise RuntimeError('never imported')")
    assert available().count("linear") == 1
    assert isinstance(create("linear"), Linear)


def test_hold_keeps_the_earlier_frame_at_half():
    cine = Cine.from_array(torch.tensor([[[0.0]], [[1.0]]]).numpy(), levels=(0, 1))
    made = create("hold").fit(cine).prepare(0, 1).at([0.4, 0.5, 0.6])
    assert made.frames.flatten().tolist() == [0.0, 0.0, 1.0]


def test_linear_is_the_weighted_mean():
    cine = Cine.from_array(torch.tensor([[[0.0]], [[1.0]]]).numpy(), levels=(0, 1))
    made = create("linear").fit(cine).prepare(0, 1).at([0.25, 0.75])
    assert made.frames.flatten().tolist() == [0.25, 0.75]


def test_no_times_give_no_frames():
    cine = Cine.from_array(torch.zeros(2, 3, 4).numpy(), levels=(0, 1))
    assert create("linear").fit(cine).prepare(0, 1).at([]).frames.shape == (0, 1, 3, 4)
