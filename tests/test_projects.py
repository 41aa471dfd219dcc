"""Projects in folders of their own: started by `winnow init`, reproduced, moved, and two of them in one repository."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import REPOSITORY, edit_params, make_tiny, run, write_corpus

from flows.cli.mistakes import mistakes
from flows.cli.starting import init
from flows.dvc.command import DvcError
from flows.projects.guessing import guess
from flows.projects.sample import sample_of
from flows.projects.starting import _shown, graph_of, start
from flows.projects.telling import Words
from flows.releases.registry import artifact, versions
from flows.releases.tags import tags_here
from flows.retraining import proposals
from flows.running.code import LINK, code_of, link_code
from flows.running.git import GitError
from stages.core import plugins
from stages.core.params.file import load_params
from stages.core.paths import SPLITS
from stages.tasks import TASKS

pytestmark = pytest.mark.usefixtures("warm_flows")


def rows_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file, in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ";")
        writer.writeheader()
        writer.writerows(rows)
    return path


WORDS = ["the", "old", "harbour", "lies", "near", "a", "quiet", "wood", "where", "few", "ships", "call", "in", "winter"]


def texts(count: int = 60) -> list[str]:
    return [" ".join(WORDS[i % 5 : i % 5 + 6]) + f" {i}" for i in range(count)]


COLUMN, TASK = "ingest.columns.label", "task"
UNTOUCHED = "as Winnow has it"
LLAMA = {"kind": "llama", "layers": 4, "width": 256, "heads": 4, "feed_forward": 704}
GUESSES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "labels": (
        "rows.csv",
        [{"id": i, "headline": text, "topic": ("sea", "wood")[i % 2]} for i, text in enumerate(texts())],
        {TASK: "text_classification", "ingest.columns.text": "headline", COLUMN: "topic"},
    ),
    "tabs, and a name that says it": (
        "rows.tsv",
        [{"text": text, "source": f"s{i % 3}", "label": "ab"[i % 2]} for i, text in enumerate(texts())],
        {TASK: "text_classification", "ingest.columns.text": "text", COLUMN: "label"},
    ),
    "numbers": (
        "rows.jsonl",
        [{"review": text, "value": i / 7} for i, text in enumerate(texts())],
        {TASK: "regression", "ingest.columns.text": "review", COLUMN: "value"},
    ),
    "stars": (
        "rows.jsonl",
        [{"review": text, "stars": 1 + i % 5} for i, text in enumerate(texts())],
        {TASK: "text_classification", COLUMN: "stars"},
    ),
    "sets": (
        "rows.jsonl",
        [{"text": text, "tags": ["a", "b"][: i % 3]} for i, text in enumerate(texts())],
        {TASK: "multilabel_classification", COLUMN: "tags"},
    ),
    "spans": (
        "rows.jsonl",
        [{"text": text, "entities": [[0, 3, "word"]]} for text in texts()],
        {TASK: "token_classification", COLUMN: "entities"},
    ),
    "words and tags": (
        "rows.jsonl",
        [{"tokens": text.split(), "ner_tags": ["O"] * len(text.split())} for text in texts()],
        {TASK: "token_classification", "ingest.columns.text": "tokens", COLUMN: "ner_tags"},
    ),
    "pairs": (
        "rows.csv",
        [{"premise": t, "hypothesis": t[::-1], "label": i % 3} for i, t in enumerate(texts())],
        {TASK: "text_classification", "ingest.columns.text": "premise", "ingest.columns.text_pair": "hypothesis"},
    ),
    "questions": (
        "rows.jsonl",
        [{"context": t, "question": "Where?", "answers": [{"text": t[:3], "answer_start": 0}]} for t in texts()],
        {TASK: "question_answering", "ingest.columns.text": "context", "ingest.columns.text_pair": "question"},
    ),
    "answered questions": (
        "rows.jsonl",
        [{"context": t, "question": "Where?", "answers": [{"text": t[:3], "answer_start": 0}]} for t in texts()],
        {"tokenize.max_tokens": 32, "tokenize.stride": 8, "validate.min_labels": 1, "validate.max_label_share": None},
    ),
    "questions, some without an answer": (
        "rows.jsonl",
        [
            {"context": t, "question": "Where?", "answers": {"text": [t[:3]][: i % 2], "answer_start": [0][: i % 2]}}
            for i, t in enumerate(texts())
        ],
        {TASK: "question_answering", "validate.min_labels": UNTOUCHED, "validate.max_label_share": UNTOUCHED},
    ),
    "whole grades of pairs": (
        "rows.tsv",
        [{"sentence1": t, "sentence2": t[::-1], "score": i % 6} for i, t in enumerate(texts())],
        {TASK: "sentence_similarity", "ingest.columns.text_pair": "sentence2", COLUMN: "score"},
    ),
    "two kinds of pairs": (
        "rows.tsv",
        [{"sentence1": t, "sentence2": t[::-1], "score": i % 2} for i, t in enumerate(texts())],
        {TASK: "text_classification", "ingest.columns.text_pair": "sentence2", COLUMN: "score"},
    ),
    "similar texts": (
        "rows.tsv",
        [{"sentence1": t, "sentence2": t[::-1], "score": i / 9} for i, t in enumerate(texts())],
        {TASK: "sentence_similarity", "ingest.columns.text_pair": "sentence2", COLUMN: "score"},
    ),
    "texts that belong together": (
        "rows.tsv",
        [{"query": t[:9], "document": t} for t in texts()],
        {TASK: "sentence_similarity", COLUMN: "document", "task.measure": "ndcg_at_10"},
    ),
    "texts to be written": (
        "rows.csv",
        [{"id": i, "article": f"{t} {t}", "summary": t} for i, t in enumerate(texts())],
        {TASK: "text2text_generation", "ingest.columns.text": "article", COLUMN: "summary", "model.family": UNTOUCHED},
    ),
    "source and target": (
        "rows.jsonl",
        [{"target": f"{t} {t}", "source": t} for t in texts()],
        {TASK: "text2text_generation", "ingest.columns.text": "source", COLUMN: "target"},
    ),
    "questions with their answers": (
        "rows.tsv",
        [{"question": f"Where is {i}?", "answer": t} for i, t in enumerate(texts())],
        {TASK: "text2text_generation", "ingest.columns.text": "question", COLUMN: "answer"},
    ),
    "room for the longest target": (
        "rows.jsonl",
        [{"source": t, "target": f"{t} {'and so on ' * (i % 5)}".strip()} for i, t in enumerate(texts())],
        {"tokenize.max_target_tokens": 64, "generate.max_new_tokens": 64, "tokenize.max_tokens": 32},
    ),
    "texts alone": (
        "rows.csv",
        [{"text": t} for t in texts()],
        {TASK: "text_generation", "ingest.columns.text": "text", COLUMN: "text"},
    ),
    "texts alone, that are long": (
        "rows.csv",
        [{"text": f"{t} " * 40} for t in texts()],
        {TASK: "text_generation", "tokenize.max_tokens": 512, "model.scratch": LLAMA | {"positions": 512}},
    ),
    "long texts with targets": (
        "rows.jsonl",
        [{"article": f"{t} " * 80, "summary": f"Of a dog, {i} times."} for i, t in enumerate(texts())],
        {TASK: "text2text_generation", "tokenize.max_tokens": 512, "tokenize.long_texts": UNTOUCHED},
    ),
    "splits": (
        "rows.csv",
        [{"split": ("Train", "dev")[i % 2], "text": t, "kind": "ab"[i % 2]} for i, t in enumerate(texts())],
        {"ingest.split_column": "split", "ingest.splits.train": "Train", "ingest.splits.validation": "dev"},
    ),
    "amounts, some missing": (
        "rows.csv",
        [{"text": t, "score": " " if i == 7 else f"{i / 7:.2f}"} for i, t in enumerate(texts())],
        {TASK: "regression", COLUMN: "score"},
    ),
    "sets, most of one label": (
        "rows.csv",
        [{"text": t, "tags": ("a", "b", "a;b", "c", "c;a", "b")[i % 6]} for i, t in enumerate(texts())],
        {TASK: "multilabel_classification", COLUMN: "tags"},
    ),
    "long texts": (
        "rows.csv",
        [{"text": " ".join(WORDS * 50) + f" {i}", "kind": "ab"[i % 2]} for i in range(300)],
        {"tokenize.max_tokens": 512, "tokenize.long_texts": "windows"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GUESSES)
def test_columns_and_task_are_guessed_from_names_and_values(case: str, tmp_path: Path) -> None:
    name, rows, expected = GUESSES[case]
    found = guess(sample_of(str(rows_of(tmp_path / name, rows))))
    values = {TASK: found.task, **found.values}
    assert {key: values.get(key, UNTOUCHED) for key in expected} == expected
    assert all(reason.endswith(".") for reason in found.reasons)


@pytest.mark.parametrize("case", GUESSES)
def test_what_is_guessed_is_what_the_project_starts_with_and_its_check_says_ok(case: str, tmp_path: Path) -> None:
    name, rows, _ = GUESSES[case]
    data = rows_of(tmp_path / name, rows)
    proposal = guess(sample_of(str(data)))
    root = start(tmp_path / "project", proposal.task, data, proposal).root
    params = load_params(root / "params.yaml")
    assert params.task.name == proposal.task
    assert params.ingest.path == f"data/{name}"
    assert (root / params.ingest.path).read_bytes() == data.read_bytes()
    assert (root / f"data/{name}.dvc").is_file()
    done = run(root, "winnow", "check")
    assert done.stdout == f"ok: params.yaml is right: {proposal.task} of data/{name} (files)\n"
    assert done.stderr == ""


def test_files_that_are_called_after_splits_are_read_as_they_are_called(tmp_path: Path) -> None:
    for called, rows in (("Train", 300), ("dev", 100), ("Test", 60)):
        own = [{"text": t, "kind": "ab"[i % 2]} for i, t in enumerate(texts()[:rows])]
        rows_of(tmp_path / f"data/{called}.csv", own)
    found = guess(sample_of(str(tmp_path / "data")))
    expected = {"train": "Train", "validation": "dev", "test": "Test"}
    assert {key: found.values[f"ingest.splits.{key}"] for key in expected} == expected
    assert "Files are called after splits: Train, dev, Test." in found.reasons
    for name in ("archive/old", "archive/train", "trained/x", "train.old"):  # `ingest` reads none of them
        rows_of(tmp_path / f"one/{name}.csv", [{"foo": t, "bar": "x"} for t in texts()])
    rows_of(tmp_path / "one/reviews.csv", [{"text": t, "kind": "ab"[i % 2]} for i, t in enumerate(texts())])
    assert guess(sample_of(str(tmp_path / "one"))).values[COLUMN] == "kind"


def test_a_csv_is_sampled_as_ingest_reads_it(tmp_path: Path) -> None:
    lines = "".join(f'{at}, "hello, you {at}", {"ab"[at % 2]}\n' for at in range(300))
    (tmp_path / "rows.csv").write_text(f"\nid, body, label\n{lines}")
    found = guess(sample_of(str(tmp_path / "rows.csv")))
    assert (found.task, found.values["ingest.columns.text"], found.values[COLUMN]) == (
        "text_classification", "body", "label",
    )  # fmt: skip


def test_a_plan_of_a_new_project_is_one_line_though_its_data_stand_in_the_graph(tmp_path: Path) -> None:
    name, rows, _ = GUESSES["labels"]
    data = rows_of(tmp_path / name, rows)
    proposal = guess(sample_of(str(data)))
    root = start(tmp_path / "project", proposal.task, data, proposal).root
    told = run(root, "winnow", "plan").stdout.splitlines()[0]
    assert re.fullmatch(r"All \d+ stages would run: none has ever run\.", told)


def test_columns_that_are_left_beside_pairs_are_their_target(tmp_path: Path) -> None:
    rows = [{"id": i, "question1": t, "question2": t[::-1], "is_duplicate": i % 2} for i, t in enumerate(texts())]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", rows))))
    assert (found.task, found.values[COLUMN]) == ("text_classification", "is_duplicate")
    alone = rows_of(tmp_path / "alone.csv", [{"query": t[:9], "document": t} for t in texts()])
    with pytest.raises(ValueError, match=r"has no column that looks like a target. Name the one: --label"):
        guess(sample_of(str(alone)), task="text_classification")


def test_a_window_of_the_proposed_length_holds_the_proposed_stride(tmp_path: Path) -> None:
    name, rows, _ = GUESSES["questions"]
    values = guess(sample_of(str(rows_of(tmp_path / name, rows)))).values
    assert values["tokenize.stride"] * 4 == values["tokenize.max_tokens"]


@pytest.mark.parametrize(("rows", "epochs"), [(60, 30), (500, 24), (1000, 12), (2000, None), (3000, None)])
def test_few_rows_are_learned_more_often_and_none_stops_early(tmp_path: Path, rows: int, epochs: int | None) -> None:
    own = [{"text": f"a text of some words, number {i}", "label": "ab"[i % 2]} for i in range(rows)]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", own))))
    assert found.values.get("finetune.epochs") == epochs
    assert found.values.get("finetune.patience") == epochs
    assert found.values.get("distill.patience") == found.values.get("distill.epochs")
    told = [reason for reason in found.reasons if "rows are few" in reason]
    assert len(told) == (epochs is not None)
    if epochs is not None:
        usual = load_params(REPOSITORY / "params.yaml")
        times = epochs // usual.finetune.epochs
        assert found.values["distill.epochs"] == times * usual.distill.epochs
        assert found.values["prune.epochs"] == times * usual.prune.epochs
        assert f"{epochs} epochs" in told[0]


def test_rows_to_judge_by_are_none_of_the_few(tmp_path: Path) -> None:
    own = [
        {"text": f"a text of some words, number {i}", "label": "ab"[i % 2], "split": "train" if i < 100 else "test"}
        for i in range(1500)
    ]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", own))))
    assert found.values["finetune.epochs"] == 30
    assert any(reason.startswith("100 rows are few") for reason in found.reasons)


def test_few_rows_of_a_task_with_epochs_of_its_own_are_multiples_of_these(tmp_path: Path) -> None:
    answer = [{"text": "a", "answer_start": 0}]
    own = [{"context": f"a {text}", "question": "Who?", "answers": answer} for text in texts()]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.jsonl", own))), task="question_answering")
    assert found.values["distill.epochs"] == 100
    assert found.values["finetune.epochs"] == 30


def test_texts_to_be_written_begin_with_the_epochs_of_their_tasks(tmp_path: Path) -> None:
    own = [{"source": text, "target": text[::-1]} for text in texts()]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", own))), task="text2text_generation")
    assert "finetune.epochs" not in found.values


def test_rows_with_more_cells_than_columns_are_still_looked_at(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"{text},a,b\n" for text in texts()))
    assert guess(sample_of(str(tmp_path / "rows.csv"))).values[COLUMN] == "label"


def test_nested_questions_are_questions(tmp_path: Path) -> None:
    question = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    data = [{"title": "a", "paragraphs": [{"context": "Ada wrote to Babbage.", "qas": [question]}]}]
    (tmp_path / "train.json").write_text(json.dumps({"version": "1", "data": data}))
    found = guess(sample_of(str(tmp_path / "train.json")))
    assert found.task == "question_answering"
    assert (found.values["ingest.columns.text"], found.values[COLUMN]) == ("context", "answers")


def lines_of(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("".join(f"{text}\n" for text in texts()))
    return folder


def test_files_that_belong_together_line_by_line_are_sources_and_targets(tmp_path: Path) -> None:
    folder = lines_of(
        tmp_path / "pairs", *(f"{stem}.{end}" for stem in ("val", "train", "test_2016") for end in ("de", "en"))
    )
    (folder / "README.md").write_text("# Captions\n")
    found = guess(sample_of(str(folder)))
    assert found.task == "text2text_generation"
    assert found.values["ingest.source"] == "parallel"
    assert [found.values[f"ingest.columns.{role}"] for role in ("text", "label")] == ["de", "en"]
    assert [found.values[f"ingest.splits.{split}"] for split in SPLITS] == ["train", "val", "test_2016"]
    assert any("The other way round: --text en --label de." in reason for reason in found.reasons)
    other = guess(sample_of(str(folder)), text="en", label="de").values
    assert [other[f"ingest.columns.{role}"] for role in ("text", "label")] == ["en", "de"]


def test_texts_in_objects_are_columns_with_a_dot(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"none": None, "translation": {"de": f"kurz {i} und gut", "en": text}} for i, text in enumerate(texts())
    ]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.jsonl", [*rows, {"none": None, "translation": None}]))))
    assert found.task == "text2text_generation"
    assert (found.values["ingest.columns.text"], found.values[COLUMN]) == ("translation.en", "translation.de")
    others = [{"spans": {"at": number}, "none": None} for number in range(2)]
    assert sample_of(str(rows_of(tmp_path / "others.jsonl", others))).columns == ("spans", "none")


def test_numbered_parts_of_a_split_are_all_read(tmp_path: Path) -> None:
    stems = ("train-00", "train-01", "val-00001-of-00002", "val-00002-of-00002", "test_2016")
    folder = lines_of(tmp_path / "parts", *(f"{stem}.{end}" for stem in stems for end in ("de", "en")))
    found = guess(sample_of(str(folder))).values
    assert [found[f"ingest.splits.{split}"] for split in SPLITS] == ["train", "val", "test_2016"]


def test_of_three_files_that_belong_together_two_are_to_be_named(tmp_path: Path) -> None:
    folder = lines_of(tmp_path / "three", "a.de", "a.en", "a.fr")
    with pytest.raises(ValueError, match=r"has lines in de, en, fr\. Name two of them: --text de --label en\."):
        guess(sample_of(str(folder)))
    found = guess(sample_of(str(folder)), text="fr", label="en").values
    assert [found[f"ingest.columns.{role}"] for role in ("text", "label")] == ["fr", "en"]
    with pytest.raises(FileNotFoundError, match=r"no file of rows, and no two files of lines"):
        sample_of(str(lines_of(tmp_path / "one", "a.de", "b.en")))


def test_texts_alone_are_no_labels_and_are_written_where_somebody_says_so(tmp_path: Path) -> None:
    alone = sample_of(str(rows_of(tmp_path / "alone.csv", [{"text": text} for text in texts()])))
    with pytest.raises(ValueError, match=r"has no column that looks like a target\. Name the one: --label COLUMN"):
        guess(alone, task="text_classification")
    rows = [{"text": text, "topic": "ab"[i % 2]} for i, text in enumerate(texts())]
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", rows))), task="text_generation")
    assert (found.task, found.values[COLUMN]) == ("text_generation", "text")


def test_words_with_tags_are_entities(tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("Ada B-person\nwrote O\n\n")
    assert guess(sample_of(str(tmp_path / "rows.conll"))).task == "token_classification"


def test_what_is_named_is_taken_and_a_name_that_is_not_there_is_told(tmp_path: Path) -> None:
    sample = sample_of(str(rows_of(tmp_path / "rows.csv", GUESSES["labels"][1])))
    found = guess(sample, task="regression", label="id")
    assert (found.task, found.values[COLUMN]) == ("regression", "id")
    with pytest.raises(ValueError, match=r"--label is 'stars'. .* has the columns id, headline, topic"):
        guess(sample, label="stars")


QUEUES = ("billing", "delivery", "login", "returns", "stock", "jobs", "press", "other")


def tickets(**named: str) -> list[dict[str, Any]]:
    """Tickets whose queue is told by their words, and whose agent by nothing; `named`: other names of these two."""
    queue, agent = named.get("queue", "queue"), named.get("agent", "agent")
    draw = random.Random(5)
    return [
        {
            "id": i,
            "day": f"day {draw.randrange(90)}",
            "message": f"{text}, of {QUEUES[i % 8]}",
            agent: f"a{draw.randrange(3)}",
            queue: f"q{i % 8}",
        }
        for i, text in enumerate(texts(400))
    ]


def test_of_several_columns_that_could_be_the_target_the_one_is_taken_that_the_words_tell(tmp_path: Path) -> None:
    found = guess(sample_of(str(rows_of(tmp_path / "rows.csv", tickets()))))
    assert (found.task, found.values[COLUMN], found.warnings) == ("text_classification", "queue", ())
    (told,) = (reason for reason in found.reasons if "Compared" in reason)
    assert re.fullmatch(
        r"Compared by the words of 'message': queue: 8 labels, the words tell 100% of them"
        r" \(the commonest alone is 12%\); agent: 3 labels, the words tell \d\d% of them, no better than chance"
        r" \(the commonest alone is 3\d%\)\. Took queue\. Otherwise: --label agent\.",
        told,
    )
    two = [row | {"team": row["queue"] in ("q0", "q1", "q2")} for row in tickets()]
    (told,) = (one for one in guess(sample_of(str(rows_of(tmp_path / "2.csv", two)))).reasons if "Compared" in one)
    assert told.endswith(". Otherwise: --label COLUMN.")


def test_a_column_that_the_words_tell_no_better_than_chance_is_warned_of(tmp_path: Path) -> None:
    sample = sample_of(str(rows_of(tmp_path / "rows.csv", tickets())))
    found = guess(sample, label="agent")
    assert found.values[COLUMN] == "agent"
    assert not any("Compared" in reason for reason in found.reasons)
    (warning,) = found.warnings
    assert re.match(
        r"the words of 'message' tell \d\d% of the labels in 'agent', no better than chance: the commonest alone is"
        r" 3\d%\. ",
        warning,
    )
    assert warning.endswith(" They tell 100% of those in 'queue': --label queue.")
    assert guess(sample, label="queue").warnings == ()
    assert guess(sample, label="id", task="regression").warnings == ()
    alone = [{"message": row["message"], "agent": row["agent"]} for row in tickets()]
    (warning,) = guess(sample_of(str(rows_of(tmp_path / "alone.csv", alone)))).warnings
    assert warning.endswith(
        "Check that 'agent' says what a text is about, and that each label stands beside its own text."
    )


def test_a_name_that_says_label_is_taken_before_one_that_the_words_tell_and_the_name_of_a_task_behind_it(
    tmp_path: Path,
) -> None:
    found = guess(sample_of(str(rows_of(tmp_path / "label.csv", tickets(agent="label")))))
    assert found.values[COLUMN] == "label"
    assert found.warnings[0].endswith("--label queue.")
    assert guess(sample_of(str(rows_of(tmp_path / "a.csv", tickets(agent="rating"))))).values[COLUMN] == "queue"
    both = sample_of(str(rows_of(tmp_path / "b.csv", tickets(agent="category", queue="intent"))))
    assert guess(both).values[COLUMN] == "intent"


def test_what_words_tell_hangs_on_no_order_of_the_rows_and_on_nothing_known_by_heart() -> None:
    draw = random.Random(3)
    rows = [(row["message"], row["queue"], row["agent"]) for row in tickets()]
    ordered, shuffled = ([*map(list, zip(*some, strict=True))] for some in (rows, draw.sample(rows, len(rows))))
    for column in (1, 2):
        assert Words(ordered[0]).told(ordered[column]) == Words(shuffled[0]).told(shuffled[column])
    by_heart = Words(ordered[0] * 3).told(ordered[2] * 3)
    assert by_heart is not None
    assert abs(by_heart.share - by_heart.commonest) < 0.1
    few: list[str | None] = [*ordered[1][:49], *[None] * 351]
    assert Words(ordered[0]).told(few) is None
    assert Words(ordered[0]).told([*ordered[1][:50], *[None] * 350]) is not None
    assert Words(ordered[0]).told(["same"] * 400) is None


def test_words_tell_rare_labels_and_scripts_without_spaces() -> None:
    draw = random.Random(4)
    written = [f"{text} fee" if i % 10 == 0 else text for i, text in enumerate(texts(1000))]
    rare = Words(written).told(["yes" if "fee" in text and draw.random() < 0.4 else "no" for text in written])
    assert rare is not None
    assert rare.tells
    assert rare.share <= rare.commonest  # every answer "no" is as often right
    chance = Words(written).told(["yes" if draw.random() < 0.04 else "no" for _ in written])
    assert chance is not None
    assert not chance.tells
    letters = [chr(0x4E00 + draw.randrange(300)) for _ in range(4000)]
    unspaced = [
        "".join(letters[20 * i : 20 * i + 10]) + ("海边" if i % 2 else "山上") + letters[20 * i] for i in range(200)
    ]
    told = Words(unspaced).told(["sea" if i % 2 else "hill" for i in range(200)])
    assert told is not None
    assert told.share > 0.9


def test_init_names_each_value_that_it_set_and_warns_of_labels_that_nothing_tells(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "rows.csv", tickets())
    done = CliRunner().invoke(init, [str(tmp_path / "project"), "--data", str(data), "--label", "agent"])
    assert done.exit_code == 0
    assert "params.yaml: every value that can change a result, as " in done.stdout
    set_here = load_params(tmp_path / "project/params.yaml")
    lines = done.stdout.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("  params.yaml: "))
    count = int(re.search(r"but for these (\d+):$", lines[first])[1])  # type: ignore[index]
    shown = dict(line.strip().split(": ", 1) for line in lines[first + 1 : first + 1 + count])
    assert shown.items() >= {
        "task.name": "text_classification", "ingest.columns.label": "agent", "ingest.columns.text_pair": "null",
        "tokenize.max_tokens": str(set_here.tokenize.max_tokens),
    }.items()  # fmt: skip
    assert lines[first + 1 + count] == "  dvc.yaml: the graph, which is Winnow's own"
    assert done.stderr.startswith("winnow: warning: the words of 'message' tell ")


UNNAMED = [{"first": t, "second": t[::-1], "score": i % 6} for i, t in enumerate(texts())]


def test_a_second_column_of_texts_is_told_and_taken_where_it_is_named(tmp_path: Path) -> None:
    sample = sample_of(str(rows_of(tmp_path / "rows.tsv", UNNAMED)))
    found = guess(sample)
    assert found.values["ingest.columns.text_pair"] is None
    assert found.reasons[1] == (
        "The column 'second' holds texts, too, and is not read. Where a row is two texts:"
        " --text first --text-pair second."
    )
    found = guess(sample, text="first", text_pair="second")
    assert (found.task, found.values["ingest.columns.text"]) == ("sentence_similarity", "first")
    assert (found.values["ingest.columns.text_pair"], found.values[COLUMN]) == ("second", "score")
    assert guess(sample, text_pair="second").values == found.values
    with pytest.raises(ValueError, match="--text and --text-pair are both 'first'"):
        guess(sample, text="first", text_pair="first")


def test_a_short_column_of_texts_beside_the_text_is_left_out_without_a_word(tmp_path: Path) -> None:
    rows = [{"subject": t[:12], "body": t * 2, "tags": ["a", "b"][: i % 3]} for i, t in enumerate(texts())]
    assert not any("subject" in reason for reason in guess(sample_of(str(rows_of(tmp_path / "r.jsonl", rows)))).reasons)


def test_a_first_line_that_reads_like_a_row_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("".join(f"{text}\t{i / 7}\n" for i, text in enumerate(texts())))
    reasons = guess(sample_of(str(tmp_path / "rows.tsv"))).reasons
    assert any("rows.tsv is taken for the names of its columns, such as 'the old harbour lies near a 0'" in one
               for one in reasons)  # fmt: skip


def test_a_file_of_another_kind_is_told_by_the_option_that_names_it_and_an_array_with_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "names.txt").write_text("Ada B-person\n\n")
    with pytest.raises(ValueError, match=r"^--data is '.*names.txt' \(.txt\). Allowed: a file that ends in .csv"):
        sample_of(str(tmp_path / "names.txt"))
    (tmp_path / "rows.json").write_text(json.dumps([{"text": "a b", "label": "x"}]))
    with pytest.raises(ValueError, match=r"rows.json is one JSON array, expected an object a line.*> rows.jsonl`"):
        sample_of(str(tmp_path / "rows.json"))


def test_values_are_shown_as_params_have_them() -> None:
    shown = [_shown(value) for value in ("queue", "null", "12", "yes: no", None, 12, ["a"], "x" * 200)]
    assert shown[:-1] == ["queue", '"null"', '"12"', '"yes: no"', "null", "12", '["a"]']
    assert shown[-1] == f"{'x' * 77}..."


def test_data_that_are_not_there_are_told_by_the_option_with_what_is_called_nearly_so(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("text,label\na b,c\n")
    with pytest.raises(FileNotFoundError) as error:
        sample_of(f"{tmp_path}/ticket.csv")
    assert str(error.value) == (
        f"--data is '{tmp_path}/ticket.csv'. There is no such file or folder. Did you mean '{tmp_path}/tickets.csv'?"
    )
    with pytest.raises(FileNotFoundError, match=r"^--data is 'nowhere/a.csv'\. There is no such file or folder\.$"):
        sample_of("nowhere/a.csv")
    with pytest.raises(ValueError, match=r"^--data is a ftp:// URL\. Allowed: "):
        sample_of("ftp://host/tickets.csv")


@pytest.mark.parametrize(
    ("pair", "stride", "told"),
    [
        ("question", 31, None),
        (
            "question",
            32,
            "Allowed: less than half of tokenize.max_tokens, as the second text may take the other half; 16",
        ),
        (None, 63, None),
        (
            None,
            64,
            "tokenize.stride is 64, and tokenize.max_tokens 64. Allowed: less than tokenize.max_tokens; 16, say.",
        ),
    ],
)
def test_a_stride_that_leaves_a_window_nothing_is_a_mistake_before_anything_runs(
    pair: str | None, stride: int, told: str | None, tmp_path: Path
) -> None:
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    task = {"task__name": "question_answering", "task__measure": "token_f1"} if pair else {}
    windows = {"tokenize__max_tokens": 64, "tokenize__stride": stride, "tokenize__long_texts": "windows"}
    edit_params(tmp_path, ingest__source="files", ingest__columns__text_pair=pair, **task, **windows)
    found = [line for line in mistakes(tmp_path, load_params(tmp_path / "params.yaml")) if "tokenize.stride" in line]
    assert (len(found) == 1 and told in found[0]) if told else found == []


@pytest.mark.parametrize(
    ("family", "max_tokens", "told"),
    [
        ("decoder", 66, "tokenize.max_tokens is 66, of which what is written may take 64"),
        ("decoder", 67, None),
        ("encoder_decoder", 64, None),
    ],
)
def test_a_source_without_room_is_a_mistake_before_anything_runs(
    family: str, max_tokens: int, told: str | None, tmp_path: Path
) -> None:
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    task = {"task__name": "text2text_generation", "model__family": family, "tokenize__max_tokens": max_tokens}
    edit_params(tmp_path, **task)
    found = [line for line in mistakes(tmp_path, load_params(tmp_path / "params.yaml")) if "max_tokens is" in line]
    assert (len(found) == 1 and told in found[0]) if told else found == []


def test_what_is_about_targets_is_a_mistake_before_anything_runs_where_none_is_written(tmp_path: Path) -> None:
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    edit_params(tmp_path, clean__copied_targets="drop")
    found = [*mistakes(tmp_path, load_params(tmp_path / "params.yaml"))]
    assert any("clean.copied_targets is drop" in line for line in found)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": i, "b": i * 2} for i in range(9)], r"has no column of texts .found: a, b.. Name the one: --text"),
        ([{"text": t, "x": f"{i} x", "y": f"{i} y"} for i, t in enumerate(texts())], "Name the one: --label"),
    ],
)
def test_a_file_that_tells_nothing_is_told(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        guess(sample_of(str(rows_of(tmp_path / "rows.csv", rows))))


OF_CORPORA = [task for task in TASKS if plugins.part(TASKS, task, "settings", key="task.name").corpus]


@pytest.mark.parametrize("task", OF_CORPORA)
def test_a_project_without_data_has_a_graph_of_its_task_and_the_pins(task: str, tmp_path: Path) -> None:
    root = start(tmp_path / "project", task, None, None).root
    settings = plugins.part(TASKS, task, "settings", key="task.name")
    text = (root / "dvc.yaml").read_text()
    measure = load_params(root / "params.yaml").task.measure
    assert text == graph_of(settings, measure)
    assert "- stages/" not in text
    assert ("confusion-teacher" in text) == ("confusion" in settings.plots)
    assert f"validation/{measure}.tsv" in text
    assert load_params(root / "params.yaml").task.name == task
    pins = load_params(root / "params.yaml").ingest.path
    archives = {"regression": "corpora.txt", "image_text_matching": "emoji.txt"}
    assert (root / pins).samefile(REPOSITORY / archives.get(task, "constraints.txt"))
    assert run(root, "winnow", "check").stderr == ""


def test_dvc_is_told_to_be_quiet_and_what_it_was_told_before_stays(tmp_path: Path) -> None:
    quiet = "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
    new = start(tmp_path / "new", "text_classification", None, None).root
    assert (new / ".dvc/config").read_text() == quiet
    old = tmp_path / "old"
    old.mkdir()
    for command in ("git init -q", "dvc init -q", "dvc remote add -q -d store ../store"):
        run(old, *command.split())
    start(old, "text_classification", None, None)
    assert run(old, "dvc", "remote", "list").stdout.split() == ["store", str(tmp_path / "store"), "(default)"]
    assert {line.strip() for line in quiet.splitlines()} <= {
        line.strip() for line in (old / ".dvc/config").read_text().splitlines()
    }


def test_data_beside_the_project_are_copied_and_a_folder_around_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, rows, _ = GUESSES["labels"]
    rows_of(tmp_path / name, rows)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "project")
    proposal = guess(sample_of(f"../{name}"))
    with pytest.raises(ValueError, match="which the project's folder is in"):
        start(Path(), proposal.task, Path(".."), proposal)
    assert [path.name for path in Path().iterdir()] == ["notes.txt"]
    Path("data").mkdir()
    Path("data", name).write_text("mine")
    with pytest.raises(ValueError, match="is there already, and the copy of --data would stand in its place"):
        start(Path(), proposal.task, Path("..", name), proposal)
    assert Path("data", name).read_text() == "mine"
    Path("data", name).unlink()
    start(Path(), proposal.task, Path("..", name), proposal)
    assert load_params(Path("params.yaml")).ingest.path == f"data/{name}"
    assert Path("notes.txt").read_text() == "mine"


def test_a_project_is_not_started_over_another_and_nothing_is_left_of_one_that_fails(tmp_path: Path) -> None:
    run(tmp_path, "winnow", "init", "one", "--task", "text_classification")
    done = run(tmp_path, "winnow", "init", "one", "--task", "text_classification", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"winnow: {tmp_path}/one has params.yaml, dvc.yaml: it is a project already. To change what was proposed, edit"
        " params.yaml there, such as ingest.columns.text and ingest.columns.label, and look at it with `winnow check`."
        " For other data, or another task, name another folder.\n",
    )
    done = run(tmp_path / "one", "winnow", "init", "a b", "--task", "text_classification", check=False)
    assert "a release's tag has the project's folder in its name, and 'a b' cannot be there" in done.stderr
    assert not (tmp_path / "one/a b").exists()
    done = run(tmp_path, "winnow", "init", "two", "--task", "regresion", check=False)
    assert done.stderr.startswith("winnow: --task is 'regresion'. Allowed: ")
    assert "Did you mean 'regression'?" in done.stderr
    done = run(tmp_path, "winnow", "init", "two", "--data", "none.csv", check=False)
    assert (done.returncode, done.stderr) == (
        1, "winnow: --data is 'none.csv'. There is no such file or folder.\n"
    )  # fmt: skip
    assert not (tmp_path / "two").exists()


def test_an_init_that_dvc_refuses_says_why_and_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "rows.csv", [{"text": text, "label": "ab"[at % 2]} for at, text in enumerate(texts())])
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / ".gitignore").write_text("data/\n")
    for command in (["init", "-q"], ["add", "-A"]):
        run(shop, "git", *command)
    with pytest.raises(DvcError, match=r"^dvc add: .*data/rows\.csv\.dvc' is git-ignored"):
        start(shop, "text_classification", data, None)
    assert run(shop, "git", "status", "--short").stdout.splitlines() == ["A  .gitignore"]
    assert (shop / ".gitignore").read_text() == "data/\n"
    with pytest.raises(DvcError):
        start(shop / "nlp", "text_classification", data, None)
    assert run(shop, "git", "status", "--short").stdout.splitlines() == ["A  .gitignore"]
    (shop / "data").mkdir()  # what is there stays, and what was made in it goes
    (shop / "data/own.csv").write_text("mine")
    (shop / "gone.txt").write_text("tracked")
    run(shop, "git", "add", "gone.txt")
    (shop / "gone.txt").unlink()
    with pytest.raises(DvcError):
        start(shop, "text_classification", data, None)
    assert [path.name for path in (shop / "data").iterdir()] == ["own.csv"]
    assert run(shop, "git", "status", "--short").stdout.splitlines() == ["A  .gitignore", "AD gone.txt"]


def test_a_repository_that_git_refuses_is_told_and_none_is_made_within_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows_of(tmp_path / "rows.csv", [{"text": text, "label": "ab"[at % 2]} for at, text in enumerate(texts())])
    run(tmp_path, "git", "init", "-q", "shop")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch: as if it were somebody else's
    with pytest.raises(GitError, match="dubious ownership"):
        start(tmp_path / "shop/nlp", "text_classification", data, None)
    assert not (tmp_path / "shop/nlp").exists()


def test_data_whose_name_no_parameter_may_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    rows = [{"text": text, "label": "ab"[at % 2]} for at, text in enumerate(texts())]
    data = rows_of(tmp_path / "R&D.csv", rows)
    with pytest.raises(ValueError, match=r"R&D\.csv', whose name has a character .*Rename it, or give a folder"):
        start(tmp_path / "rd", "text_classification", data, None)
    assert not (tmp_path / "rd").exists()


def test_a_clone_without_the_data_that_dvc_keeps_is_checked_and_only_a_run_needs_them(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "rows.csv", [{"text": text, "label": "ab"[at % 2]} for at, text in enumerate(texts())])
    project, clone = tmp_path / "project", tmp_path / "clone"
    start(project, "text_classification", data, guess(sample_of(str(data))))
    run(project, "git", "add", "-A")
    run(project, "git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "-qm", "start")
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    assert run(clone, "winnow", "check").stdout.startswith("ok: params.yaml is right")
    assert "it has never run" in run(clone, "winnow", "plan").stdout
    edit_params(clone, ingest__path="data")  # as where labelled rows lie beside them
    assert run(clone, "winnow", "check").stdout.startswith("ok: params.yaml is right")
    edit_params(clone, ingest__path="data/row.csv")
    assert "There is no such file" in run(clone, "winnow", "check", check=False).stderr
    edit_params(clone, ingest__path="data/rows.csv")
    done = run(clone, "winnow", "reproduce", check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "DVC keeps what data/rows.csv.dvc names, and it is not here. Get it: `dvc pull data/rows.csv.dvc`.\n"
    )


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with two projects of other tasks; the first of them is reproduced, committed, and pushed."""
    top = tmp_path_factory.mktemp("projects") / "repository"
    top.mkdir()
    for command in ("init -q -b main", "config user.email tests@localhost", "config user.name tests"):
        run(top, "git", *command.split())
    data = write_corpus(top.parent / "corpus.csv")
    done = run(top, "winnow", "init", "text/topics", "--data", str(data), "--label", "topic")
    assert "a project of text_classification" in done.stdout
    assert "The text is the column 'text'" in done.stdout
    run(top, "winnow", "init", "names", "--task", "token_classification")
    project = top / "text/topics"
    make_tiny(project)
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + "!/tiny\n")
    run(project, "dvc", "remote", "add", "-q", "-d", "store", str(top.parent / "store"))
    run(top, "git", "add", "-A")
    run(top, "git", "commit", "-qm", "two projects")
    inside = project / "data"
    done = run(inside, "winnow", "reproduce")
    assert "quantized" in done.stdout
    run(top, "git", "add", "-A")
    run(top, "git", "commit", "-qm", "reproduced")
    run(project, "dvc", "push", "-q")
    return top


def test_a_project_is_reproduced_from_a_folder_within_it_and_its_lock_holds_no_path_of_the_machine(
    reproduced: Path,
) -> None:
    project = reproduced / "text/topics"
    lock = (project / "dvc.lock").read_text()
    assert ".winnow/code/stages/finetune.py" in lock
    assert str(reproduced.parent) not in lock
    assert str(REPOSITORY) not in lock
    assert run(project / "metrics", "winnow", "plan", "--check").returncode == 0
    assert "Data and pipelines are up to date" in run(project, "dvc", "status").stdout
    assert not (reproduced / "names/dvc.lock").exists()
    assert run(reproduced, "git", "status", "--porcelain").stdout == ""


def test_a_moved_project_and_a_clone_of_it_have_nothing_to_do(reproduced: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "-q", str(reproduced), "another place")
    clone = tmp_path / "another place/text/topics"
    assert not (clone / LINK).exists()
    run(clone, "dvc", "pull", "-q")
    assert run(clone, "winnow", "plan", "--check").returncode == 0
    assert (clone / LINK).resolve() == REPOSITORY
    assert run(clone, "winnow", "plan").stdout == "Nothing to do: every stage is up to date.\n"
    shutil.move(tmp_path / "another place", tmp_path / "moved")
    moved = tmp_path / "moved/text/topics"
    assert run(moved, "winnow", "plan").stdout == "Nothing to do: every stage is up to date.\n"
    answer = run(moved, "winnow", "predict", "the old ship in the harbour near an island").stdout
    assert answer.startswith("sea\t")


def test_releases_and_proposals_of_two_projects_in_one_repository_do_not_mix(reproduced: Path, tmp_path: Path) -> None:
    top = tmp_path / "repository"
    shutil.copytree(reproduced, top, symlinks=True)
    project, other = top / "text/topics", top / "names"
    assert (artifact(project), artifact(other)) == ("text/topics:model", "names:model")
    run(project, "winnow", "promote", "--no-push")
    assert list(versions(project).values()) == ["v1.0.0"]
    assert tags_here(project).keys() == {
        "refs/tags/text/topics=model@v1.0.0", "refs/tags/text/topics=model#production#1"
    }  # fmt: skip
    assert versions(other) == tags_here(other) == {}
    assert "v1.0.0" in run(project, "winnow", "releases").stdout
    assert "v1.0.0" not in run(other, "winnow", "releases").stdout
    assert proposals.prefix(project) == "winnow/text/topics/retrain-"
    assert proposals.prefix(top) == "winnow/retrain-"


def test_the_code_above_a_project_is_its_own_only_beneath_winnows_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "copy"
    shutil.copytree(REPOSITORY / "stages/core", elsewhere / "stages/core")
    (elsewhere / "project").mkdir()
    assert code_of(elsewhere / "project") == REPOSITORY
    assert code_of(elsewhere) == elsewhere
    link_code(elsewhere / "project")
    assert (elsewhere / "project" / LINK).resolve() == REPOSITORY
    link_code(elsewhere)
    assert not (elsewhere / LINK).exists()


def test_a_graph_of_other_code_is_told_and_written_again_and_own_plots_stay(tmp_path: Path) -> None:
    root = start(tmp_path / "project", "token_classification", None, None).root
    text = (root / "dvc.yaml").read_text()
    own = "  - mine:\n      y: {artifacts/tables/quantized/scores.csv: score}\n"
    (root / "dvc.yaml").write_text(text.replace("      - .winnow/code/stages/finetune.py\n", "") + own)
    assert "winnow init --renew ." in run(root, "winnow", "check").stderr
    assert (
        "--renew changes what is there"
        in run(root, "winnow", "init", "--renew", ".", "--task", "regression", check=False).stderr
    )
    params = (root / "params.yaml").read_text()
    line = next(line for line in params.splitlines(keepends=True) if line.startswith("  max_tokens: "))
    (root / "params.yaml").write_text(params.replace(line, ""))
    renewed = run(root, "winnow", "init", "--renew", ".").stdout
    assert "params.yaml: now has tokenize.max_tokens" in renewed
    assert "written again" in renewed
    assert (root / "dvc.yaml").read_text() == text + own
    ours = load_params(REPOSITORY / "params.yaml")
    assert load_params(root / "params.yaml").tokenize.max_tokens == ours.tokenize.max_tokens
    assert run(root, "winnow", "check").stderr == ""
