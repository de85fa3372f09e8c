"""The trust page: what it says is what was measured, and a method that loses is not let off quietly."""

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import scanweave.trust
from scanweave.cine import Cine, Derivation, Display, FrameRecord, Source
from scanweave.errors import InputError, UsageError
from scanweave.interpolation.methods import Linear, create
from scanweave.interpolation.regions import RegionPlan, plan_regions
from scanweave.plan import Plan
from scanweave.report import Callout, Page, Pictures, Table, render
from scanweave.trust.core import FrameScore, LeaveOneOut
from scanweave.trust.figures import Findings
from scanweave.trust.report import leave_one_out, trust_page, trust_summary, write_trust_report
from scanweave.trust.survey import Survey, survey
from scanweave.trust.verdict import error_digits, is_baseline, judge

LENGTH = 14


def moving_run(length: int = LENGTH, *, name: str = "run.dcm") -> Cine:
    """Return a soft bright spot that swings from side to side, in 8 bits."""
    row, column = np.mgrid[0:32, 0:40]
    centres = 20 + 9 * np.sin(np.arange(length) / 3)
    frames = [30 + 200 * np.exp(-((column - c) ** 2 + (row - 16) ** 2) / 30) for c in centres]
    source = Source(path=Path(name), facts={"Frame times": "40 ms"}, r_waves=(0.2,), notes=("A note of the file.",))
    return Cine.from_array(np.stack(frames).astype(np.uint8), fps=25, source=source)


class Text(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def blocks_of(page: Page, kind: type) -> list:
    return [block for section in page.sections for block in section.blocks if isinstance(block, kind)]


@pytest.fixture(scope="module")
def scored() -> tuple[Cine, LeaveOneOut, Survey, RegionPlan]:
    cine = moving_run()
    found = survey(cine)
    plan = plan_regions(cine, found)
    result = leave_one_out(cine, ["hold", "linear"], gaps=(2, 3), survey=found, regions=plan)
    return cine, result, found, plan


def with_scores(result: LeaveOneOut, **shifts: float) -> LeaveOneOut:
    """Return `result` with the PSNR of some methods shifted by so many dB."""
    scores = [replace(s, psnr_region=s.psnr_region + shifts.get(s.method, 0.0)) for s in result.scores]
    return replace(result, scores=tuple(scores))


def made_of(cine: Cine) -> Cine:
    """Return the run slowed twice by blending, as a job gives it: records, confidence, derivation."""
    fitted = Linear().fit(cine)
    frames, records, times = [], [], []
    for i in range(len(cine) - 1):
        middle = cine.stored(fitted.prepare(i, i + 1).at([0.5]).frames[0].numpy())
        for t, frame in ((0.0, cine.frame(i)), (0.5, middle)):
            kind = "made" if t else "acquired"
            times.append(float(cine.times[i] + t * (cine.times[i + 1] - cine.times[i])))
            confidence = 0.25 + i / 100 if t else None
            records.append(FrameRecord(len(frames), times[-1], kind, (i, i + 1), t, "linear", confidence))
            frames.append(frame)
    stack = np.stack(frames)
    return Cine(
        lambda k: stack[k],
        shape=cine.shape,
        dtype=cine.dtype,
        times=times,
        records=records,
        derivation=Derivation(len(cine), "linear", "slowed twice", factor=2, playback_rate=25.0),
    )


def test_the_verdict_says_what_the_summary_says(scored) -> None:
    cine, result, found, plan = scored
    page = trust_page(cine, result, found, plan, chosen="linear")
    summary = next(s for s in result.summary() if (s.method, s.gap) == ("linear", 2))
    (callout, *_) = blocks_of(page, Callout)
    first = callout.lines[0]
    assert f"{summary.count} hidden frames" in first
    for quartiles, unit in ((summary.psnr_region, " dB"), (summary.mae_region, " grey levels")):
        lower, median, upper = (f"{value:.2f}" for value in quartiles)
        assert f"{median}{unit} [{lower}, {upper}]" in first


def test_the_table_holds_every_summary_and_marks_the_best(scored) -> None:
    cine, result, found, plan = scored
    page = trust_page(cine, result, found, plan, chosen="linear")
    table = next(table for table in blocks_of(page, Table) if table.grouped)
    rows = {(row[0], row[1].text): row for row in table.rows}
    assert len(rows) == 4
    for s in result.summary():
        row = rows[str(s.gap), s.method]
        assert row[2] == str(s.count)
        assert row[3].text == f"{s.psnr_region.median:.2f}"
        assert row[3].detail == f"[{s.psnr_region.lower:.2f}, {s.psnr_region.upper:.2f}]"
        assert row[6].text == f"{s.mae_region.median:.2f}"
        best = max(o.psnr_region.median for o in result.summary() if o.gap == s.gap)
        assert row[3].best == (s.psnr_region.median == best)


def test_a_method_that_wins_is_called_good(scored) -> None:
    _, result, _, _ = scored
    verdict = judge(with_scores(result, linear=20.0), "linear")
    assert verdict.level == "good"
    assert verdict.at_gap(2)[0].better == verdict.at_gap(2)[0].count


@pytest.mark.parametrize(("chosen", "rival"), [("linear", "hold"), ("hold", "linear")])
def test_a_method_that_loses_to_a_baseline_sounds_the_alarm(scored, chosen: str, rival: str) -> None:
    cine, result, found, plan = scored
    beaten = with_scores(result, **{chosen: -20.0})
    page = trust_page(cine, beaten, found, plan, chosen=chosen)
    callout = page.sections[0].blocks[0]
    assert isinstance(callout, Callout)
    assert callout.level == "alarm"
    assert f"LOSES to {rival}" in callout.title
    assert any("LOSES to" in line for line in callout.lines)
    html = render(page)
    assert '<div class="callout alarm" role="alert">' in html
    assert 'class="num bad"' in html
    assert trust_summary(beaten, chosen)["level"] == "alarm"


def test_a_method_that_loses_at_a_wide_gap_only_is_warned_of(scored) -> None:
    cine, result, found, plan = scored
    scores = [
        replace(s, psnr_region=30.0 + (5 if s.method == "linear" else 0) * (1 if s.gap == 2 else -1))
        for s in result.scores
    ]
    behind = replace(result, scores=tuple(scores))
    verdict = judge(behind, "linear")
    assert verdict.level == "warning"
    assert "LOSES to plain frame repetition at gap 3 by 5.00 dB" in verdict.lines()[-1]
    (callout, *_) = blocks_of(trust_page(cine, behind, found, plan, chosen="linear"), Callout)
    assert callout.title == "linear is the best at gap 2, but LOSES to hold at gap 3"


def test_a_method_level_at_a_wide_gap_is_not_said_to_lose(scored) -> None:
    cine, result, found, plan = scored
    scores = [
        replace(s, psnr_region=30.0 + (5 if s.gap == 2 else -0.001) * (s.method == "linear")) for s in result.scores
    ]
    even = replace(result, scores=tuple(scores))
    (callout, *_) = blocks_of(trust_page(cine, even, found, plan, chosen="linear"), Callout)
    assert callout.title == "linear is the best at gap 2, but no better than hold at gap 3"
    assert "no better than plain frame repetition at gap 3 (+0.00 dB" in callout.lines[-1]


def test_a_method_level_with_a_baseline_is_warned_of(scored) -> None:
    _, result, _, _ = scored
    scores = [replace(s, psnr_region=30.0 + 0.01 * (s.method == "linear")) for s in result.scores]
    verdict = judge(replace(result, scores=tuple(scores)), "linear")
    assert [c.outcome for c in verdict.comparisons] == ["level", "level"]
    assert verdict.level == "warning"


def test_perfect_frames_are_no_trouble(scored) -> None:
    cine, result, found, plan = scored
    perfect = replace(
        result, scores=tuple(replace(s, psnr_region=math.inf, psnr_frame=math.inf) for s in result.scores)
    )
    assert judge(perfect, "linear").comparisons[0].outcome == "level"
    render(trust_page(cine, perfect, found, plan, chosen="linear"))
    json.dumps(trust_summary(perfect, "linear"), allow_nan=False)


@pytest.mark.parametrize(("peak", "digits"), [(255, 2), (65535, 2), (1023, 2), (1.0, 4), (0.02, 6), (0.0, 2)])
def test_errors_are_written_as_finely_as_the_range_needs(peak: float, digits: int) -> None:
    assert error_digits(peak) == digits


def test_a_run_that_uses_little_of_its_depth_is_shown_bright() -> None:
    dim = Cine.from_array(np.stack(list(moving_run(6))).astype(np.uint16) + 1000, fps=25)
    found = survey(dim)
    plan = plan_regions(dim, found)
    result = leave_one_out(dim, "linear", gaps=[2], survey=found, regions=plan)
    findings = Findings(dim, result, found, plan, create("linear"))
    assert findings.shown(0).max() > 250
    strips = blocks_of(trust_page(dim, result, found, plan, chosen="linear"), Pictures)
    assert any("brightened: black is 10" in strip.caption and "0 to 65535" in strip.caption for strip in strips)


def test_what_a_method_must_beat() -> None:
    assert is_baseline("linear", "hold")
    assert is_baseline("optical-flow", "most-dsa")
    assert is_baseline("minterpolate", "optical-flow")
    assert not is_baseline("optical-flow", "minterpolate")
    assert not is_baseline("a-third-party", "linear")


def test_the_summary_for_machines_is_json_and_agrees_with_the_result(scored) -> None:
    _, result, _, _ = scored
    told = json.loads(json.dumps(trust_summary(result, "linear"), allow_nan=False))
    assert [(s["method"], s["gap"], s["count"]) for s in told["summaries"]] == [
        (s.method, s.gap, s.count) for s in result.summary()
    ]
    assert told["summaries"][0]["psnr_region"] == list(result.summary()[0].psnr_region)
    calibration = result.calibration["linear"]
    assert told["confidence"]["coverage"] == calibration.coverage
    assert told["confidence"]["spearman"] == calibration.spearman
    with pytest.raises(UsageError, match="'minterpolate' was not scored"):
        trust_summary(result, "minterpolate")


def test_worst_frames_are_shown_beside_truth_and_error(scored) -> None:
    cine, result, found, plan = scored
    page = trust_page(cine, result, found, plan, chosen="linear")
    section = next(section for section in page.sections if section.title == "Worst frames")
    strips = [block for block in section.blocks if isinstance(block, Pictures)]
    worst = result.worst("linear", 2, 3)
    assert len(strips) == len(worst) == 3
    for score, strip in zip(worst, strips, strict=True):
        assert f"Frame {score.hidden}, made from frames {score.pair[0]} and {score.pair[1]}" in strip.title
    assert all([p.caption for p in strip.pictures] == ["Made", "Acquired (the truth)", "Error"] for strip in strips)
    assert all(strip.scale is not None for strip in strips)


def test_the_page_of_a_made_run_shows_its_confidence_and_motion_and_plan(scored, tmp_path: Path) -> None:
    cine, result, found, plan = scored
    run = Plan(verb="interpolate", inputs=(), config={"factor": 2}, method={"name": "linear"})
    path = tmp_path / "out.html"
    made = made_of(cine)
    write_trust_report(path, trust_page(cine, result, found, plan, chosen="linear", made=made, plan=run))
    text = " ".join(Text(path.read_text(encoding="utf-8")).words)
    acquired = made_count = len(cine) - 1
    assert f"{acquired} acquired, bit for bit; {made_count} made" in text
    assert "Motion along one line" in text
    assert f"Confidence of {made_count} made frames" in path.read_text(encoding="utf-8")
    assert '"factor": 2' in text
    assert path.stat().st_size < 3_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


def test_the_page_says_what_must_be_said(scored) -> None:
    cine, result, found, plan = scored
    text = " ".join(Text(render(trust_page(cine, result, found, plan, chosen="linear"))).words).lower()
    for words in (
        "strain, speckle tracking and time-to-peak must use acquired frames",
        "research use only",
        "overstates the error",
        "a note of the file.",
        "rank correlation",
        "r waves",
    ):
        assert words in text


def test_names_in_a_file_cannot_act(scored) -> None:
    _, result, found, plan = scored
    cine = moving_run(name="<script>alert(1)</script>.dcm").with_source(
        facts={"Station <img src=x onerror=alert(1)>": "<script>alert(2)</script>"}, notes=("<iframe src=//x>",)
    )
    page = Text(render(trust_page(cine, result, found, plan, chosen="linear")))
    assert not {"script", "iframe"} & set(page.tags)
    assert "<script>alert(2)</script>" in page.words


def test_scoring_takes_names_and_objects_and_only_scores_each_once() -> None:
    cine = moving_run(6)
    result = scanweave.trust.leave_one_out(cine, ["hold", Linear()], gaps=[2], chosen=create("linear"))
    assert result.methods == ("linear", "hold")
    with pytest.raises(UsageError, match="each once"):
        leave_one_out(cine, ["hold", "hold"], gaps=[2])
    for gaps in ([1, 2], [2.5], []):
        with pytest.raises(UsageError, match="gaps"):
            leave_one_out(cine, ["hold"], gaps=gaps)
    with pytest.raises(UsageError, match="at most 0 hidden frames"):
        leave_one_out(cine, ["hold"], max_hidden=0)
    assert leave_one_out(cine, "hold", gaps=[2]).methods == ("hold",)


def test_every_phase_of_every_gap_is_scored_unless_fewer_are_asked_for() -> None:
    cine = moving_run(80)
    counts = {s.gap: s.count for s in leave_one_out(cine, "hold").summary()}
    assert counts == {gap: (80 - gap) * (gap - 1) for gap in (2, 3, 4, 8)}
    fewer = leave_one_out(cine, "hold", gaps=[2], max_hidden=10)
    assert fewer.summary()[0].count == 10
    assert any("Only a part of the frames was hidden" in note for note in fewer.notes)


@pytest.mark.parametrize(("length", "reason"), [(1, "nothing to interpolate"), (2, "neither can be hidden")])
def test_runs_too_short_to_hide_a_frame_are_refused(length: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        leave_one_out(moving_run(length), ["hold"])
    assert caught.value.exit_code == 3


def test_repeats_can_be_taken_off_first() -> None:
    cine = moving_run(8)
    repeated = cine.select([0, 1, 2, 2, 3, 4, 5, 6, 7], times=np.arange(9) / 25)
    kept = leave_one_out(repeated, ["hold"], gaps=[2])
    dropped = leave_one_out(repeated, ["hold"], gaps=[2], duplicates="drop")
    # frame 3 repeats frame 2: no span may hold both
    assert [s.hidden for s in kept.scores] == [1, 4, 5, 6, 7]
    assert [s.hidden for s in dropped.scores] == [1, 2, 3, 4, 5, 6]


def test_a_run_of_which_nothing_could_be_hidden_says_why() -> None:
    nothing = LeaveOneOut(scores=(), region=np.ones((4, 4), bool), peak=255.0, skipped={2: "all frames repeat"})
    with pytest.raises(InputError, match="gap 2: all frames repeat"):
        judge(nothing, "hold")


def test_frames_are_compared_one_by_one() -> None:
    def score(method: str, hidden: int, decibels: float) -> FrameScore:
        return FrameScore(method, 2, hidden, (hidden - 1, hidden + 1), 0.5, decibels, 40.0, 0.9, 0.9, 1.0)

    scores = [score("linear", k, 30.0 + k) for k in (1, 2, 3)] + [score("hold", k, 32.5) for k in (1, 2, 3)]
    result = LeaveOneOut(tuple(scores), np.ones((4, 4), bool), 255.0)
    (comparison,) = judge(result, "linear").comparisons
    assert (comparison.better, comparison.count, comparison.outcome) == (1, 3, "loses")
    assert comparison.difference == -0.5


def _deep(frames: np.ndarray) -> Cine:
    return Cine.from_array(frames.astype(np.uint16) * 16, levels=(0, 4095))


def _float(frames: np.ndarray) -> Cine:
    return Cine.from_array(frames / 255 - 0.5, fps=10)


def _colour(frames: np.ndarray) -> Cine:
    return Cine.from_array(np.repeat(frames[..., None], 3, axis=3), fps=10)


def _palette(frames: np.ndarray) -> Cine:
    ramp = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
    return Cine.from_array(frames, fps=10, display=Display(palette=ramp))


def _still(frames: np.ndarray) -> Cine:
    noise = np.random.default_rng(0).integers(0, 2, frames.shape)
    return Cine.from_array((100 + noise).astype(np.uint8), fps=10)


def _uneven(frames: np.ndarray) -> Cine:
    return Cine.from_array(frames, times=np.cumsum(1 + np.arange(len(frames)) % 3) / 30)


@pytest.mark.parametrize("kind", [_deep, _float, _colour, _palette, _still, _uneven])
def test_runs_of_every_kind_get_their_page(kind) -> None:
    cine = kind(np.stack(list(moving_run(7))))
    found = survey(cine)
    plan = plan_regions(cine, found)
    result = leave_one_out(cine, ["hold", "linear"], gaps=[2], survey=found, regions=plan)
    page = render(trust_page(cine, result, found, plan, chosen="linear"))
    assert ("states no times" in page) == (cine.time_unit == "frame")
    assert "nan" not in "".join(Text(page).words)
