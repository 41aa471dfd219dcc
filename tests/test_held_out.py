"""Rows set aside: drawn beside the others, like none of them, and out of reach of every choice."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from source_fixtures import kept, settings
from test_cleaning import cleaned, outs, run_clean, sentences
from test_sources import hub_folder
from test_validate import good_rows, write
from test_validate import params as validate_params

from flows.review.cards import data_card
from stages.baseline import baseline
from stages.core.contracts import RawRow
from stages.core.params.file import load_params
from stages.core.paths import HELD_OUT, MODELS, TRANSFER, Paths
from stages.programs.held_out import held_out
from stages.reading.libraries import Library, draw
from stages.sources import docstrings, hub
from stages.validate import validate

# Sources


def drawn(name: str, rows: int, held_out: int, unlabelled: int = 0) -> list[RawRow]:
    return draw(Library(name, rows, 30, 2000, 20, docstrings.first_paragraphs, held_out, unlabelled)).rows


def test_a_library_gives_rows_to_set_aside_from_files_that_give_no_other_and_the_others_stay_as_they_were() -> None:
    alone = drawn("dulwich", 40, 0)
    both = drawn("dulwich", 40, 12)
    aside = [row for row in both if row.split == HELD_OUT]
    assert [row for row in both if row.split is None] == alone
    assert len(aside) == 12
    assert len({row.group for row in aside}) == 12, "one of each file"
    assert not {row.group for row in aside} & {row.group for row in alone}
    assert not {row.text for row in aside} & {row.text for row in alone}


def test_a_library_whose_files_all_give_rows_has_none_to_set_aside() -> None:
    few = drawn("fsspec", 100, 12)
    assert len(few) == 100
    assert all(row.split is None for row in few)


def test_rows_without_a_label_are_others_of_the_files_of_the_first_which_stay_as_they_were() -> None:
    without = drawn("dulwich", 40, 12)
    found = drawn("dulwich", 40, 12, unlabelled=30)
    unlabelled = [row for row in found if row.split == TRANSFER]
    assert [row for row in found if row.split != TRANSFER] == without
    assert len(unlabelled) == 30
    assert {row.label for row in unlabelled} == {None}
    assert {row.group for row in unlabelled} <= {row.group for row in without if row.split is None}
    assert not {row.text for row in unlabelled} & {row.text for row in without}


def test_rows_without_a_label_that_would_all_be_dropped_are_a_mistake(tmp_path: Path) -> None:
    copied = Path(shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml"))
    text = copied.read_text().replace("unlabelled_rows_per_library: 0", "unlabelled_rows_per_library: 9")
    copied.write_text(text)
    with pytest.raises(ValueError, match=r"unlabelled_rows_per_library is 9, .* clean.unlabelled 'drop'"):
        load_params(copied)
    copied.write_text(text.replace("unlabelled: drop ", "unlabelled: transfer "))
    assert load_params(copied).ingest.docstrings.unlabelled_rows_per_library == 9


def test_files_and_datasets_may_name_rows_that_are_set_aside(tmp_path: Path) -> None:
    for name in ("rows", "final"):
        pd.DataFrame({"text": [f"{name} x"], "label": ["a"]}).to_csv(tmp_path / f"{name}.csv", index=False)
    splits = settings(tmp_path).splits.model_dump() | {"held_out": "final"}
    rows = [(row.text, row.label, row.split) for row in kept(tmp_path, splits=splits)]
    assert rows == [("final x", "a", "held_out"), ("rows x", "a", None)]
    chosen = settings(
        hub_folder(tmp_path / "pets"), splits=splits | {"held_out": "test", "test": "dev"} | {"validation": "v"}
    )
    assert [row.split for row in hub.read(chosen, 0)] == [None, None, None, "held_out"]
    with pytest.raises(ValueError, match="two splits have the same name"):
        settings(tmp_path, splits=splits | {"held_out": "test"})


# Cleaning


def some_and_aside() -> list[tuple[Any, Any, Any]]:
    """80 unlike rows, of which the last 20 are set aside."""
    return [(text, "ab"[at % 2], None if at < 60 else HELD_OUT) for at, text in enumerate(sentences(80))]


def test_rows_set_aside_stand_in_a_file_of_their_own_and_change_no_byte_of_the_others(tmp_path: Path) -> None:
    rows = some_and_aside()
    near = [f"{text} {text.split()[0]}" for text, *_ in rows[:10]]  # like rows that are kept: these stay all the same
    rows += [(text, "b", HELD_OUT) for text in near]
    _, before, _ = cleaned(tmp_path / "alone", rows[:60])
    _, counts, dropped = cleaned(tmp_path / "both", rows)
    one, two = (Paths(tmp_path / name) for name in ("alone", "both"))
    assert two.clean.read_bytes() == one.clean.read_bytes()
    aside = pd.read_parquet(two.held_out)
    assert sorted(aside["row_id"]) == sorted(f"row-{at}" for at in range(60, 80))
    assert set(aside["split"]) == {HELD_OUT}
    assert counts["rows"] == {**before["rows"], HELD_OUT: 20}
    assert (counts["read"], counts["kept"], counts["dropped"]) == (90, 80, 10)
    assert {name: counts[name] for name in ("labels", "label_shares", "chars")} == {
        name: before[name] for name in ("labels", "label_shares", "chars")
    }
    assert set(dropped["reason"]) == {"leaked"}
    assert set(dropped["repeats"]) == {f"row-{at}" for at in range(10)}
    assert pd.read_parquet(one.held_out).empty
    assert "| held_out | 20 |" in data_card(load_params(REPOSITORY / "params.yaml"), counts, {})


def test_a_row_set_aside_goes_for_faults_of_its_own_for_a_group_and_for_what_it_repeats(tmp_path: Path) -> None:
    texts = sentences(40)
    table: list[tuple[str | None, ...]] = [
        (f"{at:04}", text, "ab"[at % 2], f"made:{at}", None, f"g{at}", None) for at, text in enumerate(texts[:30])
    ]
    planted = {
        "no-label": (texts[30], None, "h0", "missing_label"),
        "short": ("o", "a", "h1", "too_short"),
        "group": (texts[31], "a", "g3", "leaked_group"),
        "same": (texts[0].upper(), "b", "h2", "leaked"),
        "near": (texts[1].replace(".", " again."), "a", "h3", "leaked"),
        "twice-a": (texts[32], "a", "h4", None),
        "twice-b": (texts[32], "a", "h5", "exact_duplicate"),
    }
    table += [
        (name, text, label, f"made:{name}", HELD_OUT, group, None) for name, (text, label, group, _) in planted.items()
    ]
    _, _, dropped = run_clean(tmp_path / "one", table)
    wanted = {name: reason for name, (*_, reason) in planted.items() if reason}
    assert dict(zip(dropped["row_id"], dropped["reason"], strict=True)) == wanted
    assert pd.read_parquet(Paths(tmp_path / "one").held_out)["row_id"].tolist() == ["twice-a"]
    random.Random(1).shuffle(table)
    run_clean(tmp_path / "two", table)
    assert outs(tmp_path / "one") == outs(tmp_path / "two")
    assert Paths(tmp_path / "one").held_out.read_bytes() == Paths(tmp_path / "two").held_out.read_bytes()


@pytest.mark.parametrize(
    ("rare_labels", "labels"), [("keep", ["a", "b", "c"]), ("drop", ["a", "b"]), ("merge", ["a", "b", "other"])]
)
def test_rows_set_aside_with_a_rare_label_go_or_change_as_the_others_do(
    tmp_path: Path, rare_labels: str, labels: list[str]
) -> None:
    texts = sentences(70)
    rows: list[tuple[str, str, str | None]] = [
        (text, "ab"[at % 2] if at < 55 else "c", None) for at, text in enumerate(texts[:60])
    ]
    rows += [(text, "abc"[at % 3], HELD_OUT) for at, text in enumerate(texts[60:])]
    cleaned(tmp_path, rows, rare_labels=rare_labels)
    assert sorted(set(pd.read_parquet(Paths(tmp_path).held_out)["label"])) == labels


# Validation


def test_validation_counts_rows_set_aside_and_refuses_those_that_are_training_rows(tmp_path: Path) -> None:
    clean = good_rows()
    more = [(f"more-{at}", f"another text {at}", "a", f"made:more-{at}", HELD_OUT) for at in range(60)]
    aside = pd.DataFrame(more, columns=["row_id", "text", "label", "origin", "split"])
    paths = write(tmp_path, pd.concat([clean, aside], ignore_index=True), clean)
    aside.to_parquet(paths.held_out)
    validate(validate_params(), paths)
    assert json.loads(paths.validation_report.read_text())["held_out"]
    assert json.loads(paths.data_profile.read_text())["rows"] == len(clean)
    aside.assign(row_id=clean["row_id"].iloc[0]).head(1).to_parquet(paths.held_out)
    with pytest.raises(ValueError, match=r"held_out: .*row_id"):
        validate(validate_params(), paths)


# Nobody else


def test_no_stage_of_the_graph_but_those_that_count_or_spare_them_has_rows_set_aside_among_its_deps() -> None:
    """`tokenize` spares them: no swapped copy of a training row is like one of them."""
    graph = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    readers = {
        name
        for name, stage in graph.items()
        if any("held_out" in dep or dep == "artifacts/data" for dep in stage.get("do", stage)["deps"])
    }
    assert readers == {"validate", "report", "tokenize"}


def test_only_known_files_name_the_rows_set_aside() -> None:
    """What is no dep of a stage could be read all the same: every place in code that could is one of these."""
    named = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("stages", "flows", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
        if re.search(r"\.held_out\b|held_out\.parquet", path.read_text(encoding="utf-8"))
    }
    assert named == {
        "stages/clean.py", "stages/validate.py", "stages/validation/suites.py", "stages/report.py",
        "stages/programs/held_out.py", "stages/core/paths.py", "stages/reading/libraries.py",
        "flows/experiments/seeds.py", "benchmarks/ratings.py",
        "stages/tokenize.py",  # so that no copy of a training row is one of them
    }  # fmt: skip


# `winnow seeds`


def test_the_models_are_measured_on_rows_set_aside_and_on_test_rows_of_the_same_labels(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.clean.parent.mkdir(parents=True)
    words = {"sea": "ship wave tide", "kitchen": "bread oven salt", "forest": "tree moss owl"}
    rows = [
        (f"{split}-{label}-{at}", f"{text} {at}", label, f"made:{split}-{label}-{at}", split, f"{split}-{label}-{at}")
        for split, count in (("train", 8), ("test", 4))
        for label, text in words.items()
        for at in range(count)
    ]
    # Of four that are set aside one is what its words do not say; no row is of the forest.
    aside = [
        ("h0", "ship wave", "sea"),
        ("h1", "tide wave", "sea"),
        ("h2", "bread salt", "kitchen"),
        ("h3", "ship tide", "kitchen"),
    ]
    names = ["row_id", "text", "label", "origin", "split", "group"]
    pd.DataFrame(rows, columns=names).to_parquet(paths.clean)
    pd.DataFrame([(*row, row[0], HELD_OUT, row[0]) for row in aside], columns=names).to_parquet(paths.held_out)
    params = load_params(REPOSITORY / "params.yaml")
    baseline(params, paths)
    for model in MODELS[1:]:
        shutil.copytree(paths.model("baseline"), paths.model(model))
    held_out(params, paths)
    found = json.loads(paths.held_out_report.read_text())
    assert found["classes"] == ["kitchen", "sea"]
    assert (found["held_out"]["rows"], found["test_rows_of_these_classes"]["rows"]) == (4, 8)
    quantized = found["held_out"]["models"]["quantized"]
    assert quantized["accuracy"]["value"] == 0.75
    assert quantized["macro_f1"]["value"] == pytest.approx((2 / 3 + 4 / 5) / 2, abs=1e-6)
    assert quantized["accuracy"]["low"] < 0.75 < quantized["accuracy"]["high"]
    assert quantized["against_teacher"]["accuracy"]["difference"] == 0
    assert found["test_rows_of_these_classes"]["models"]["teacher"]["accuracy"]["value"] == 1
    pd.DataFrame([("h0", "ship", "desert", "h0", HELD_OUT, "h0")], columns=names).to_parquet(paths.held_out)
    with pytest.raises(ValueError, match="labels that no training row has: desert"):
        held_out(params, paths)
    pd.DataFrame([], columns=names).to_parquet(paths.held_out)
    with pytest.raises(ValueError, match="no rows are set aside"):
        held_out(params, paths)
