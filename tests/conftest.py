"""Fixtures that all tests share; the only place that knows where the reference folder is."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scanweave.cli import main
from scanweave.models import Drdm, DrdmConfig, MostDsa, SuperSlomo, SuperSlomoConfig

StateDict = dict[str, Tensor]

_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference folder (real scans, specs, goldens): `SCANWEAVE_SHARED`, else ``../shared``."""
    folder = Path(os.environ.get("SCANWEAVE_SHARED", _DEFAULT))
    if not folder.is_dir():
        if os.environ.get("SCANWEAVE_REQUIRE_SHARED") == "1":
            pytest.fail(f"the reference folder {folder} is missing, and SCANWEAVE_REQUIRE_SHARED=1")
        pytest.skip(f"no reference folder at {folder} (set SCANWEAVE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Golden vectors that may be published, kept beside the tests."""
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def echo_path() -> Path:
    """The real echo that comes with pydicom: 30 frames, 8-bit colour, JPEG baseline."""
    from pydicom.examples import get_path

    return Path(get_path("ybr_color"))


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run all commands that a document shows in its console blocks, in the order shown."""

    def run(
        document: str,
        folder: Path,
        *,
        smaller: Mapping[str, str] | None = None,
        one_step: Mapping[str, str] | None = None,
    ) -> None:
        """Run them in `folder`.

        Args:
            document: Its name, below the root of the repository.
            folder: Where the files lie that the commands name.
            smaller: Parts of commands that take long, and what stands for them here.
            one_step: What is added to trainings, by the configuration that they name, for one step of a small network.
        """
        text = (Path(__file__).resolve().parents[1] / document).read_text()
        blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
        shown = [line for block in blocks for line in block.splitlines() if line.startswith("scanweave ")]
        assert shown
        monkeypatch.chdir(folder)
        for line in shown:
            words = shlex.split(
                functools.reduce(lambda said, old: said.replace(old, smaller[old]), smaller or {}, line)
            )
            if words[1] == "train":
                words += shlex.split((one_step or {})[words[words.index("--config") + 1]])
            assert main(words[1:]) == 0, line

    return run


# --- the published networks, with the reproducible weights that the golden vectors were made with


@pytest.fixture(scope="session")
def fill(goldens: Path) -> Callable[[StateDict], StateDict]:
    """The function that made the golden weights: from key and shape alone."""
    spec = importlib.util.spec_from_file_location("golden_fill", goldens / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill_state_dict


def filled(network: nn.Module, fill: Callable[[StateDict], StateDict]) -> nn.Module:
    network.load_state_dict(fill(network.state_dict()))
    return network.eval()


@pytest.fixture(scope="session")
def most_dsa(fill) -> MostDsa:
    return filled(MostDsa(), fill)


@pytest.fixture(scope="session")
def drdm(fill) -> Callable[..., Drdm]:
    """DRDM with filled weights, its last kernel and bias scaled (the goldens' README); config as given."""

    def make(scale: float, **config: int) -> Drdm:
        network = filled(Drdm(DrdmConfig(**config)), fill)
        with torch.no_grad():
            network.conv_out.weight.mul_(scale)
            network.conv_out.bias.mul_(scale)
        return network

    return make


@pytest.fixture(scope="session")
def slomo_state(fill) -> StateDict:
    """Both U-Nets' weights: filled, kernels times 1.5, last kernel times 4 again (the goldens' README)."""
    network = SuperSlomo()
    state = {}
    for part in ("flow", "refine"):
        for key, tensor in fill(getattr(network, part).state_dict()).items():
            gain = (1.5 if tensor.ndim == 4 else 1.0) * (4.0 if key == "conv3.weight" else 1.0)
            state[f"{part}.{key}"] = tensor * gain
    return state


@pytest.fixture(scope="session")
def slomo(slomo_state) -> Callable[[str], SuperSlomo]:
    """Super-SloMo of a warp convention; the weights are shared, not copied."""

    def make(convention: str) -> SuperSlomo:
        network = SuperSlomo(SuperSlomoConfig(warp_convention=convention))
        network.load_state_dict(slomo_state, assign=True)
        return network.eval()

    made = {convention: make(convention) for convention in ("half_pixel", "corner", "exact")}
    return made.__getitem__


@pytest.fixture(scope="session")
def vectors(goldens: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Read a committed golden file, ``system/name``."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(goldens / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays}

    return read


@pytest.fixture(scope="session")
def as_frames() -> Callable[[np.ndarray], Tensor]:
    """8-bit ``([B,] H, W, C)`` as ``(B, 3, H, W)`` in [0, 1]; grey is repeated."""

    def convert(pixels: np.ndarray) -> Tensor:
        stack = pixels if pixels.ndim == 4 else pixels[None]
        return torch.from_numpy(stack).permute(0, 3, 1, 2).expand(-1, 3, -1, -1).float() / 255

    return convert


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Assert that a tensor has a golden's shape and, within a tolerance, its values."""

    def check(tensor: Tensor, golden: np.ndarray, tolerance: float, *, relative: float = 0) -> None:
        assert tuple(tensor.shape) == golden.shape
        np.testing.assert_allclose(tensor.numpy(), golden, atol=tolerance, rtol=relative)

    return check


def pytest_configure() -> None:
    """Share the cores among parallel workers, and with the programs that tests start."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests used the reference folder, and that none was skipped."""
    count = Counter(
        outcome
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if "reference" in getattr(report, "keywords", {})
    )
    terminalreporter.write_line(f"reference tests: {count['passed'] + count['failed']} ran, {count['skipped']} skipped")
