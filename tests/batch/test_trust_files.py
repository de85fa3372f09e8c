"""Many runs scored at once: each gets its own page."""

import numpy as np

from scanweave import io
from scanweave.batch.inputs import distinct
from scanweave.batch.trust import ScoreOptions, trust_many
from scanweave.cine import Cine


def test_names_that_are_taken_get_a_number(tmp_path):
    paths = [tmp_path / name for name in ("a.dcm", "a.dcm", "b.dcm", "a.dcm", "a_2.dcm")]
    assert [path.name for path in distinct(paths)] == ["a.dcm", "a_2.dcm", "b.dcm", "a_3.dcm", "a_2_2.dcm"]


def test_runs_of_one_name_get_a_page_each(tmp_path):
    run = Cine.from_array(np.arange(5, dtype=np.uint8)[:, None, None] * np.full((24, 24), 40, np.uint8), fps=25)
    sources = [(tmp_path / f"echo{suffix}",) for suffix in (".tif", ".npz")]
    for (path,) in sources:
        io.write(run, path)
    scoring = ScoreOptions(methods=("linear",), chosen="linear", gaps=(2,))
    outcomes = trust_many(sources, tmp_path / "pages", scoring=scoring)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [outcome.report.name for outcome in outcomes] == ["echo.trust.html", "echo.trust_2.html"]
    assert all(outcome.report.exists() for outcome in outcomes)
