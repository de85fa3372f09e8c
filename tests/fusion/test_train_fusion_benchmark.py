"""What decides in ``benchmarks/train_fusion.py`` whether a small network of fusion is worth shipping."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from scanweave.cine import Cine
from scanweave.fusion.methods import create
from scanweave.fusion.virtual import VirtualOptions

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("train_fusion")


def rows_of(module, gain: float, spread: float) -> dict:
    generator = np.random.default_rng(0)
    flow = {f"frame {i}": 50 + float(generator.normal()) for i in range(20)}
    ours = {key: value + gain + spread * float(generator.normal()) for key, value in flow.items()}
    hold = {key: value - 3 for key, value in flow.items()}
    row = module.compared({"hold": hold, "flow": flow, "block-fusion": ours})
    return {f"real, x4, {rate} times": row for rate in module.RATES}


def test_the_best_baseline_counts_and_differences_are_paired(benchmark_module):
    row = next(iter(rows_of(benchmark_module, 0.5, 0.1).values()))
    assert row["best"] == "flow"
    assert row["gain"] == pytest.approx(0.5, abs=0.1)
    assert row["interval"][0] > 0.4  # although frames differ by much more
    assert row["outcome"] == "better"


@pytest.mark.parametrize(("gain", "spread", "expected"), [(0.5, 0.1, True), (0.0, 0.3, False), (-1.0, 0.1, False)])
def test_the_lower_bounds_at_both_rates_decide(benchmark_module, gain, spread, expected):
    rows = rows_of(benchmark_module, gain, spread)
    assert benchmark_module.worth(rows) is expected
    assert not benchmark_module.worth(dict(list(rows.items())[:1]))
    assert not benchmark_module.worth({})


def test_frames_are_scored_by_first_frame_and_told(benchmark_module, tmp_path):
    rows, columns = np.mgrid[:24, :32]
    run = np.stack([np.sin((columns - t) / 5) * np.cos(rows / 7) + 1.2 for t in range(10)])
    cine = Cine.from_array(run.astype(np.float32), fps=1000, levels=(0.0, 4.0))
    case = benchmark_module.Case("drifting", [cine], VirtualOptions(ratio=4), (0, 1, 9))
    methods = {name: create(name) for name in ("hold", "flow")}
    scores = benchmark_module.scored(case, methods)
    assert list(scores["flow"]) == [
        f"frame {i}" for i in (1, 2, 3, 5, 6, 7, 4, 8)
    ]  # first frame 9 leaves one sharp one
    row = benchmark_module.compared(scores, ours="flow")
    assert row["gain"] > 5
    (tmp_path / "log").write_text(json.dumps({"event": "validation", "step": 5, "loss": 1.0, "gain": 2.0}) + "\n")
    log = benchmark_module.staged([tmp_path / "none", tmp_path / "log"])
    text = benchmark_module.page({"drifting": row}, {"Weights": "none"}, log)
    assert "not worth" in text
    assert "| 2 | 5 | 1.000 | 2.000 |" in text
    both = benchmark_module.Case("twice", [cine, cine], VirtualOptions(ratio=4))
    assert list(benchmark_module.scored(both, methods)["hold"]) == ["run 0", "run 1"]
