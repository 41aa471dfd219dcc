"""`winnow threshold`: risk against coverage on validation rows, and the threshold proposed for a wanted risk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_fixtures import ROOT, write_word_model

from flows.answering.threshold import FEWEST, Answered, curve, fit, point, propose, separates
from flows.cli.commands import main
from stages.core.paths import Paths


def judged(confidence: Sequence[float], right: Sequence[float]) -> Answered:
    return Answered(np.array(confidence), np.array(right), np.arange(len(right)))


FOUR = judged([0.9, 0.8, 0.6, 0.5], [1, 1, 0, 1])


def test_risk_is_the_share_of_wrong_answers_among_those_that_are_sure_enough() -> None:
    found = point(FOUR, 0.6, 0.95)
    assert found is not None
    assert (found.rows, found.coverage) == (3, 0.75)
    assert found.risk == pytest.approx(1 / 3)
    assert found.low < 1 / 3 < found.high


def test_a_threshold_that_no_answer_reaches_is_no_point() -> None:
    assert point(FOUR, 0.95, 0.95) is None


def test_the_interval_of_no_error_reaches_from_nothing_to_wilsons_end() -> None:
    found = point(judged([0.9] * 40, [1] * 40), 0.5, 0.95)
    assert found is not None
    assert (found.risk, found.low) == (0, 0)
    assert found.high == pytest.approx(1.96**2 / (40 + 1.96**2), abs=1e-4)  # Wilson's for 0 of 40


def test_the_curve_answers_at_least_each_of_its_shares_and_shows_none_twice() -> None:
    found = list(curve(FOUR, 0.95))
    assert [(one.threshold, one.coverage) for one in found] == [
        (0.0, 1.0),
        (0.6, 0.75),
        (0.8, 0.5),
        (0.9, 0.25),
    ]


def steps() -> Answered:
    """200 rows, the surer the righter: of the 100 surest none is wrong, of the others every second."""
    return judged(list(np.linspace(0.99, 0.01, 200)), [1] * 100 + [1, 0] * 50)


def test_the_proposed_threshold_has_the_largest_coverage_whose_upper_end_is_within_the_risk() -> None:
    found = propose(steps(), 0.1, 0.95)
    assert found is not None
    assert found.high <= 0.1
    more = point(steps(), found.threshold - 0.03, 0.95)
    assert more is not None
    assert more.high > 0.1
    assert 0.5 <= found.coverage < 0.6


def test_a_risk_that_every_answer_keeps_proposes_to_answer_all() -> None:
    found = propose(steps(), 0.5, 0.95)
    assert found is not None
    assert (found.threshold, found.coverage) == (0.0, 1.0)


def test_no_threshold_is_proposed_by_few_rows() -> None:
    assert propose(judged([0.9] * (FEWEST - 1), [1] * (FEWEST - 1)), 0.9, 0.95) is None
    assert propose(steps(), 0.001, 0.95) is None


def test_rows_of_one_unit_count_for_fewer_so_that_the_interval_is_wider() -> None:
    alone = point(steps(), 0.0, 0.95)
    together = point(steps()._replace(units_N=np.arange(200) // 20), 0.0, 0.95)
    assert alone is not None
    assert together is not None
    assert together.high > alone.high


def test_the_confidence_separates_right_from_wrong_by_the_share_of_pairs() -> None:
    assert separates(FOUR) == pytest.approx(2 / 3)  # 0.9 and 0.8 are above 0.6, and 0.5 is not
    assert separates(judged([0.7, 0.7], [1, 0])) == 0.5
    assert separates(judged([0.7, 0.6], [1, 1])) is None


VALIDATION = (
    [("bread", "kitchen")] * 60 + [("ship", "sea")] * 30 + [("soup", "sea")] * 10
)  # soup: an even guess, kitchen


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a real model, validation rows and test rows."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    paths = Paths(tmp_path)
    paths.model("quantized").mkdir(parents=True)
    write_word_model(paths.model("quantized"))
    rows = [(split, *row) for split, count in (("validation", 100), ("test", 50)) for row in VALIDATION[:count]]
    table = [
        {"row_id": str(at), "text": text, "label": label, "split": split, "group": str(at)}
        for at, (split, text, label) in enumerate(rows)
    ]
    paths.clean.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(table), paths.clean)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_is_asked_for_its_validation_rows_and_the_choice_is_shown_on_the_test_rows(project: Path) -> None:
    found = fit(Paths(project), "quantized", 0.1)
    assert [(one.rows, round(one.risk, 4)) for one in found.curve] == [(100, 0.1), (90, 0), (60, 0)]
    assert (found.separates, found.score) == (1.0, "accuracy")
    assert found.proposed is not None
    assert (found.proposed.rows, found.proposed.threshold) == (90, 0.9525)  # of 0.9526, rounded down
    assert found.on_test is not None
    assert (found.on_test.rows, found.on_test.risk) == (50, 0)


def test_the_command_prints_the_table_and_fails_where_no_threshold_will_do(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["threshold", *arguments])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = run("--risk", "0.1")
    assert code == 0
    assert "   0.9525     90.0%       90    0.0%  0.0% to 4.1%" in out.splitlines()
    assert "Proposed: --threshold 0.9525, which answers 90.0% of the rows;" in out
    assert run("--risk", "0.001")[0] == 1
    assert json.loads(run("--risk", "0.1", "--json")[1])["proposed"]["rows"] == 90
    assert run("--model", "nothing")[0] == 2
