"""The benchmarks' parameters are some that params.yaml takes, and their arithmetic is right."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, init_repository, run, tiny_params
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from flows.cli.mistakes import mistakes
from flows.dvc.edits import set_values
from stages.core import machine
from stages.core.params.file import load_params
from stages.core.paths import Paths


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark that the test names."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    yield importlib.import_module(request.param)
    sys.modules.pop(request.param)


FIGURES = sorted((REPOSITORY / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", FIGURES, ids=[path.stem for path in FIGURES])
def test_figures_say_of_which_commit_day_and_processor_they_are(path: Path) -> None:
    made = json.loads(path.read_text(encoding="utf-8"))["made"]
    assert made.keys() == {"commit", "date", "processor"}
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", made["commit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"])


@pytest.mark.parametrize("path", FIGURES, ids=[path.stem for path in FIGURES])
def test_each_benchmark_writes_its_figures_by_the_one_that_adds_that(path: Path) -> None:
    script = REPOSITORY / "tests/soak.py" if path.stem == "soak" else path.with_suffix(".py")
    assert re.search(r"record\.write(_beside)?\(", script.read_text(encoding="utf-8"))


@pytest.mark.parametrize("benchmark", ["record"], indirect=True)
def test_what_is_recorded_is_this_commit_this_day_and_this_processor(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.write(tmp_path / "figures.json", {"rows": 3})
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["rows"] == 3
    assert found["made"]["commit"].removesuffix("-dirty") == run(REPOSITORY, "git", "rev-parse", "HEAD").stdout.strip()
    assert found["made"]["date"] == datetime.now(UTC).date().isoformat()
    assert found["made"]["processor"] == machine.processor()


@pytest.mark.parametrize("benchmark", ["record"], indirect=True)
def test_figures_that_another_benchmark_has_just_written_are_no_change_of_the_code(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, figures = tmp_path / "benchmarks/speed.py", tmp_path / "benchmarks/speed.json"
    code.parent.mkdir()
    for file in (code, figures):
        file.write_text("1\n")
    init_repository(tmp_path)
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "first")
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    figures.write_text("2\n")
    assert re.fullmatch("[0-9a-f]{40}", benchmark.made()["commit"])
    code.write_text("2\n")
    assert benchmark.made()["commit"].endswith("-dirty")


@pytest.mark.parametrize("benchmark", ["runners"], indirect=True)
def test_of_a_peers_ways_to_batch_the_fastest_counts(benchmark: ModuleType) -> None:
    rounds = [{"p50_ms": 2.0, "padded": 10.0, "equal lengths": 30.0}, {"p50_ms": 1.0, "padded": 40.0}]
    assert benchmark.fastest(rounds) == {"p50_ms": 1.0, "rows_per_s": 40.0, "batches": "padded"}


@pytest.mark.parametrize("benchmark", ["contestants"], indirect=True)
def test_peers_get_rows_filled_or_of_one_length_with_the_same_ids(benchmark: ModuleType, tmp_path: Path) -> None:
    words = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "model.json").write_text('{"pad_id": 0, "max_tokens": 8}')
    texts = ["a b a", "b", "a"]
    ((filled, mask),) = benchmark.padded(tmp_path)(texts)
    assert (filled.tolist(), mask.tolist()) == ([[4, 5, 4], [5, 0, 0], [4, 0, 0]], [[1, 1, 1], [1, 0, 0], [1, 0, 0]])
    assert [ids.tolist() for ids, _ in benchmark.equally_long(tmp_path)(texts)] == [[[4, 5, 4]], [[5], [4]]]


@pytest.mark.parametrize("benchmark", ["training"], indirect=True)
def test_finetune_is_compared_with_the_better_precision_of_the_others(benchmark: ModuleType) -> None:
    speeds = dict.fromkeys(benchmark.WAYS, 100.0) | {"finetune": 400.0, "trainer_bf16": 50.0, "bare_fp32": 200.0}
    found = benchmark.compared(speeds)
    assert (found["best of trainer_grouped and trainer_bf16"], found["best of bare and bare_fp32"]) == (4, 2)


@pytest.mark.parametrize("benchmark", ["banking77"], indirect=True)
def test_banking77_changes_parameters_that_there_are(benchmark: ModuleType, tmp_path: Path) -> None:
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    set_values(copied, benchmark.PARAMETERS)
    params = load_params(copied)
    assert (params.ingest.path, params.finetune.teachers) == ("data/banking77", 3)


@pytest.mark.parametrize("benchmark", ["banking77"], indirect=True)
def test_banking77s_table_has_the_mean_and_each_seed(benchmark: ModuleType) -> None:
    cost = {"size_mb": 7.21, "latency_p50_ms": 0.356}
    runs = {20: {"quantized": {"accuracy": 0.93, **cost}}, 23: {"quantized": {"accuracy": 0.94}}}
    assert "| quantized | 93.50 | 93.00, 94.00 | 7.2 | 0.36 |" in benchmark.as_table(runs)


@pytest.fixture
def few_rows(tmp_path: Path) -> Path:
    """A folder with train.csv, ten rows of each of two labels, and test.csv."""
    lines = [f"{label} {number},{label}" for label in ("a", "b") for number in range(10)]
    (tmp_path / "train.csv").write_text("\n".join(["text,category", *lines]))
    (tmp_path / "test.csv").write_text("text,category\nNA,a\n")
    return tmp_path


def rows_of(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_a_draw_of_few_labels_has_so_many_rows_a_label_and_the_others_without_one(
    benchmark: ModuleType, few_rows: Path
) -> None:
    benchmark.write_draw(benchmark.of_banking77(few_rows), few_rows / "draw", rows=5, seed=1)
    found = {name: rows_of(few_rows / f"draw/{name}.csv") for name in ("train", "validation", "transfer", "test")}
    for name, count in (("train", 3), ("validation", 2)):
        assert [sum(row[1] == label for row in found[name]) for label in ("a", "b")] == [count, count]
    assert [len(row) for row in found["transfer"]] == [1] * 10
    assert sorted(row[0] for name in ("train", "validation", "transfer") for row in found[name]) == sorted(
        row[0] for row in rows_of(few_rows / "train.csv")
    )
    assert found["test"] == [["NA", "a"]]


@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_values_for_few_labels_are_chosen_on_rows_of_no_other_split(
    benchmark: ModuleType, few_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "DEVELOPMENT", 4)
    benchmark.write_draw(benchmark.of_banking77(few_rows), few_rows / "draw", rows=5, seed=1, development=True)
    texts = [
        row[0] for name in ("train", "validation", "test", "transfer") for row in rows_of(few_rows / f"draw/{name}.csv")
    ]
    assert len(rows_of(few_rows / "draw/test.csv")) == 4
    assert sorted(texts) == sorted(row[0] for row in rows_of(few_rows / "train.csv"))


@pytest.mark.parametrize("method", ["supervised", "contrastive", "zero_shot"])
@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_few_labels_changes_parameters_that_go_together(benchmark: ModuleType, few_rows: Path, method: str) -> None:
    benchmark.write_draw(benchmark.of_banking77(few_rows), few_rows / benchmark.DATA, rows=5, seed=1)
    copied = shutil.copyfile(REPOSITORY / "params.yaml", few_rows / "params.yaml")
    for changes in ({}, *benchmark.CANDIDATES.get(method, [])):
        for corpus in benchmark.CORPORA:
            set_values(copied, benchmark.values_of(corpus, method, 8, 3) | changes)
            params = load_params(copied)
            assert (params.finetune.method, params.seed) == (method, 3)
            assert list(mistakes(few_rows, params)) == []


@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_of_goemotions_the_comments_with_one_common_emotion_alone_are_taken(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "LEAST", 2)
    (tmp_path / "labels.txt").write_text("joy\nfear\nneutral\n")
    lines = {"train": ['a "quote\t0\tx', "b\t0\tx", "c\t1\tx", "d\t0,1\tx", "e\t2\tx"], "test": ["f\t0\tx", "g\t1\tx"]}
    for split, rows in lines.items():
        (tmp_path / f"{split}.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    found = benchmark.of_goemotions(tmp_path)
    assert found.train.to_numpy().tolist() == [['a "quote', "joy"], ["b", "joy"]]
    assert found.test.to_numpy().tolist() == [["f", "joy"]]


TWO_DRAWS = {
    "0": {"supervised teacher": 0.5, "contrastive teacher": 0.8, "contrastive quantized": 0.8},
    "1": {"supervised teacher": 0.7, "contrastive teacher": 0.8, "contrastive quantized": 0.6},
}


@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_draws_of_few_labels_are_kept_unless_they_are_of_other_parameters(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures.json"

    def with_draw(rows: int, draw: int) -> dict[str, Any]:
        found: dict[str, Any] = benchmark.recorded(path, "banking77", rows, draw, TWO_DRAWS[str(draw)])
        return found

    for rows, draw in ((16, 0), (8, 1), (8, 0)):
        path.write_text(json.dumps({"banking77": with_draw(rows, draw)}))
    found = with_draw(8, 0)["rows_a_label"]
    assert list(found) == ["8", "16"]
    assert found["8"] == {"summary": benchmark.summary(TWO_DRAWS), "draws": TWO_DRAWS}
    monkeypatch.setitem(benchmark.CHOSEN["banking77"]["contrastive"], "finetune.encoder_learning_rate", 0.1)
    other = with_draw(8, 1)["rows_a_label"]
    assert (list(other), list(other["8"]["draws"])) == (["8"], ["1"])


@pytest.mark.parametrize("benchmark", ["few_labels"], indirect=True)
def test_what_pairs_gain_and_what_int8_keeps_is_of_each_draw(benchmark: ModuleType) -> None:
    told = benchmark.summary(TWO_DRAWS)
    assert told["contrastive less supervised"] == {"mean": 0.2, "deviation": 0.1414}
    assert told["kept by int8"]["mean"] == 0.875
    assert told["supervised teacher"]["mean"] == 0.6


@pytest.mark.parametrize("benchmark", ["multi30k"], indirect=True)
def test_multi30k_changes_parameters_that_go_together_and_takes_the_corpus_alone(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    lines = b"".join(b"A dog.\n" for _ in range(3))
    (tmp_path / "given").mkdir()
    for stem in ("train", "val", "test_2016_flickr"):
        for column in ("en", "de"):
            (tmp_path / f"given/{stem}.{column}.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "given/README.md").write_text("Not of the corpus.")
    benchmark.copied(tmp_path / "given", tmp_path / benchmark.DATA)
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    set_values(copied, benchmark.PARAMETERS)
    assert list(mistakes(tmp_path, load_params(copied))) == []
    assert len(list((tmp_path / benchmark.DATA).iterdir())) == 6
    assert benchmark.lines(tmp_path / "given", "val.de") == ["A dog."] * 3


@pytest.mark.parametrize("benchmark", ["multi30k"], indirect=True)
def test_multi30ks_table_has_means_and_the_baselines_once_for_all_beams(benchmark: ModuleType) -> None:
    runs = {
        seed: {
            "models": {
                "copy": {"bleu": 2.0},
                "student": {"beams_1": {"bleu": bleu}, "beams_4": {"bleu": 30.0}, "size_mb": 7.21},
            }
        }
        for seed, bleu in ((20, 27.0), (21, 29.0))
    }
    table = benchmark.as_table(runs).splitlines()
    assert table[2:] == ["| copy | 2.00 | 2.00 | - |", "| student | 28.00 | 30.00 | 7.2 |"]


@pytest.mark.parametrize("benchmark", ["multi30k"], indirect=True)
def test_multi30k_judges_all_lines_by_sacrebleu(benchmark: ModuleType) -> None:
    references = ["Ein Hund läuft über die Wiese.", "Zwei Katzen schlafen."]
    found = benchmark.judged(list, references, references)
    assert (found["bleu"], found["chrf"]) == (100.0, 100.0)
    assert benchmark.signatures(references, references)["bleu"].startswith(
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"
    )


@pytest.mark.parametrize("benchmark", ["choices"], indirect=True)
def test_choosing_costs_nothing_where_epochs_are_alike_and_much_where_the_last_is_worst(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "HALVES", 5)
    truth = np.tile([0, 1, 2, 3], 50)
    right = truth.copy()
    right[:20] = (right[:20] + 1) % 4
    assert benchmark.lost_by_choosing(np.array([right, right, right]), truth, 1) == 0
    generator = np.random.default_rng(0)
    by_chance = [np.where(generator.random(200) < 0.7, truth, (truth + 1) % 4) for _ in range(20)]
    assert benchmark.lost_by_choosing(np.array([*by_chance, truth]), truth, 1) == 0, "the last is right"
    assert benchmark.lost_by_choosing(np.array([*by_chance, truth * 0]), truth, 1) < -20, "the last is the worst"


@pytest.mark.parametrize("benchmark", ["choices"], indirect=True)
def test_each_way_to_answer_from_windows_is_what_it_says(benchmark: ModuleType) -> None:
    from stages.training.rows import TokenRows

    # A text of windows of 2, 2 and 8 tokens, and one of a single window.
    rows = TokenRows(["a", "a", "a", "b"], np.zeros(4, int), np.array([0, 2, 4, 12, 15]), np.zeros(15, np.int32))
    logits = np.array([[4.0, 0.0, 1.0], [4.5, 0.0, 1.0], [0.0, 2.0, 6.0], [0.0, 1.0, 0.0]], np.float32)
    answers = {way: of.tolist() for way, of in benchmark.of_windows(logits, rows).items()}
    assert answers == {
        "first window": [0, 1],
        "vote": [0, 1],
        "highest logit": [2, 1],
        "mean probability": [0, 1],
        "mean logit": [0, 1],  # 8.5 to 8
        "mean logit by tokens": [2, 1],  # 17 to 52, of 12
    }


@pytest.mark.parametrize("benchmark", ["choices"], indirect=True)
def test_choices_are_made_again_on_validation_rows_alone(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    from test_distilled_vectors import ROWS, write_teacher
    from test_tokenize import write_clean

    from stages.cache_logits import cache_logits
    from stages.tokenize import tokenize

    paths = write_clean(tmp_path / "project", ROWS)
    params = tiny_params(
        paths, tiny_models("bert"), distill__teacher_layers=[0, 2], distill__epochs=2, distill__batch_size=12,
        distill__precision="fp32", prune__epochs=2, prune__common_words=1, evaluate__resamples=100,
    )  # fmt: skip
    tokenize(params, paths)
    write_teacher(params, paths, tiny_models("bert"))
    cache_logits(params, paths)
    only = pq.read_table(paths.clean)
    pq.write_table(only.filter(pc.not_equal(only["split"], "test")), paths.clean)
    for name, value in (("HALVES", 2), ("KEPT_SHARES", (0.5, 1.0)), ("WINDOWS", ((4, 0), (4, 1), (12, 0)))):
        monkeypatch.setattr(benchmark, name, value)
    before = {path: path.stat().st_mtime_ns for path in paths.root.rglob("*") if path.is_file()}
    found = benchmark.measure(paths.root, 2)
    assert {path: path.stat().st_mtime_ns for path in paths.root.rglob("*") if path.is_file()} == before
    assert {name: len(of["seeds"]) for name, of in found["select_by"].items()} == {"distill": 2, "prune": 2}
    kept = found["feed_forward_kept"]
    assert (kept["unseen_half"]["rows"], kept["all_rows"]["rows"], kept["all_rows"]["ours"]) == (5, 9, "0.62")
    assert kept["all_rows"]["candidates"].keys() == {"0.5", "0.62", "1.0"}
    assert kept["all_rows"]["candidates"]["0.62"]["against_ours"]["mean"] == 0
    assert found["windows"].keys() == {"4, 0", "4, 1"}, "no text is longer than 12 tokens"
    assert len(found["windows"]["4, 0"]["candidates"]) == 6


@pytest.mark.parametrize("benchmark", ["ratings"], indirect=True)
def test_raters_who_agree_leave_room_for_a_perfect_model_and_those_who_guess_for_none(benchmark: ModuleType) -> None:
    assert benchmark.ceiling([[1, 1, 1], [2, 2, 2], [4, 4, 4]]) == 1
    assert benchmark.ceiling([[-2, 2], [1, -1], [3, -2]]) == 0
    # Means of 1 and 3: a variance of 2. That of two raters' mean is 1, half of (0 - 1)^2 + (2 - 1)^2.
    assert benchmark.ceiling([[0, 2], [2, 4]]) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("benchmark", ["ratings"], indirect=True)
def test_a_models_correlation_with_the_ratings_is_held_against_the_lexicons(benchmark: ModuleType) -> None:
    truths = [f"{at % 7 - 3}" for at in range(60)]
    answers = {"vader": truths[30:] + truths[:30], "teacher": [f"{float(truth) / 8}" for truth in truths]}
    rows = pa.table({"label": truths, "group": [f"review {at // 2}" for at in range(60)]})
    found = benchmark.judged(answers, rows, load_params(REPOSITORY / "params.yaml"))
    apart = np.corrcoef([float(one) for one in truths], [float(one) for one in answers["vader"]])[0, 1]
    assert (found["rows"], found["units"]) == (60, 30)
    assert found["teacher"]["pearson"]["value"] == pytest.approx(1)
    assert found["vader"]["pearson"]["value"] == pytest.approx(apart, abs=1e-6)
    assert found["teacher"]["against_vader"]["value"] == pytest.approx(1 - apart, abs=1e-6)
    assert found["vader"].keys() == {"pearson"}


@pytest.mark.parametrize("benchmark", ["ratings"], indirect=True)
def test_the_learned_domain_is_judged_on_test_rows_and_the_others_on_rows_set_aside_as_they_were_rated(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    paths.clean.parent.mkdir(parents=True)
    names = ("row_id", "text", "label", "split", "group", "kept")
    of = {domain: json.dumps({"domain": domain}) for domain in ("movies", "tweets")}
    for path, rows in (
        (
            paths.clean,
            [("a", "so so", "0.1", "train", "a", of["movies"]), ("b", "fine", "1", "test", "b", of["movies"])],
        ),
        (paths.held_out, [("c", "yay", "2", "held_out", "c", of["tweets"])]),
        (paths.raw, [("a", "So so", "", "", "", ""), ("b", "FINE", "", "", "", ""), ("c", "Yay :)", "", "", "", "")]),
    ):
        pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    found = {domain: benchmark.raw_texts(paths, rows) for domain, rows in benchmark.domains(paths)}
    assert found == {"movies": ["FINE"], "tweets": ["Yay :)"]}


@pytest.mark.parametrize("benchmark", ["app"], indirect=True)
def test_a_load_is_told_in_rows_a_second_against_the_runner_and_in_milliseconds(benchmark: ModuleType) -> None:
    latencies = [0.001] * 98 + [0.05, 0.2]
    assert benchmark.Load(2.0, latencies).figures(8, 1000) == {
        "requests_per_s": 50, "rows_per_s": 400, "share_of_runner": 0.4, "p50_ms": 1, "p99_ms": 200,
    }  # fmt: skip
    assert [len(benchmark.requests_of(["a"] * 10, rows)) for rows in (1, 3, 11)] == [10, 3, 0]


@pytest.mark.parametrize("benchmark", ["writing"], indirect=True)
def test_the_speed_of_writing_is_the_best_rounds_and_is_held_against_the_faster_torch(benchmark: ModuleType) -> None:
    rounds = [{"tokens_per_s": 90.0, "prompt_ms": 7.0}, {"tokens_per_s": 120.04, "prompt_ms": 8.0}]
    assert benchmark.best(rounds) == {"tokens_per_s": 120.0, "prompt_ms": 7.0}
    names = benchmark.writers
    rates = {names.OURS: 120.0, names.FLOAT: 70.0, names.EAGER: 30.0, names.COMPILED: 40.0, names.PLAIN: 80.0}
    found = benchmark.ratios({name: {"tokens_per_s": rate} for name, rate in rates.items()})
    assert found == {"to_torch": 3.0, "to_plain_tools": 1.5}


@pytest.mark.parametrize("benchmark", ["shift"], indirect=True)
def test_no_review_is_read_and_judges_and_each_text_is_read_once_without_its_rating(benchmark: ModuleType) -> None:
    names = ("row_id", "text", "label", "split", "group")
    schema = pa.schema([(name, pa.large_string()) for name in names])
    rows = pa.Table.from_pylist(
        [{"row_id": f"r{at}", "text": f"text {at}", "label": "1", "group": f"review {at // 3}"} for at in range(30)],
        schema,
    )
    read, judging = benchmark.halves(rows, 20)
    groups = [{*half["group"].to_pylist()} for half in (read, judging)]
    assert (len(groups[0]), len(groups[1]), groups[0] & groups[1]) == (5, 5, set())
    known = read["text"][0].as_py()
    clean = pa.Table.from_pylist([{"row_id": "a", "text": known, "label": "2", "split": "train"}], schema)
    both = benchmark.with_transfer(clean, read)
    assert both["label"].to_pylist() == ["2", *[None] * 14]
    assert both["split"].to_pylist() == ["train", *["transfer"] * 14]
    assert len({*both["text"].to_pylist()}) == 15


@pytest.mark.parametrize("benchmark", ["shift"], indirect=True)
def test_what_reading_the_new_domain_won_is_a_difference_on_the_same_rows(benchmark: ModuleType) -> None:
    truths = [f"{at % 7 - 3}" for at in range(60)]
    shifted = truths[1:] + truths[:1]
    rows = pa.table({"label": truths, "group": [f"review {at // 2}" for at in range(60)]})
    answers = {"student": shifted, "teacher": truths, "baseline": shifted}
    found = benchmark.judged(answers, [truths, truths], rows, load_params(REPOSITORY / "params.yaml"))
    apart = np.corrcoef([float(one) for one in truths], [float(one) for one in shifted])[0, 1]
    assert found["models"]["student"]["value"] == pytest.approx(apart, abs=1e-6)
    assert found["models"]["adapted student"]["value"] == pytest.approx(1)
    assert found["won"]["mean"] == pytest.approx(1 - apart, abs=1e-6)
    assert found["won"]["low"] <= found["won"]["mean"] <= found["won"]["high"]


@pytest.mark.parametrize("benchmark", ["shift"], indirect=True)
def test_texts_of_other_words_are_drift(benchmark: ModuleType) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    films = pa.table({"text": [f"the film was good {at}" for at in range(20)], "label": ["1"] * 20})
    assert benchmark.drifted(films, films, params)["beyond"] == []
    tweets = pa.table({"text": [f"omg lol w00t {at}" for at in range(20)], "label": ["1"] * 20})
    assert "max_word_drift" in benchmark.drifted(films, tweets, params)["beyond"]
