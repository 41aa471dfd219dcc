"""The whole pipeline, for real, on a tiny corpus and a tiny model: through `dvc repro` and through the flow."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import warm_python
import yaml
from conftest import REPOSITORY, UNUSED, edit_params, make_project, run, write_corpus

from stages.core.params.file import load_params

MODELS = ("baseline", "static", "probe", "teacher", "student", "pruned", "quantized")
STAGES = [
    "ingest", "clean", "validate", "tokenize", "report", "baseline", "static", "probe", "finetune", "cache_logits",
    "distill", "prune", "quantize", "compare", "profile", *(f"evaluate@{model}" for model in MODELS),
]  # fmt: skip


TIMED = {".locks", "data_docs", "step_logs", "training_speed", ".seconds"}


def stages_run(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"Running stage '(.+?)'", done.stdout)


def lock(project: Path) -> dict:
    """dvc.lock without `profile`, whose figures are the machine's."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {name: stage for name, stage in stages.items() if name != "profile"}


def fingerprint(project: Path) -> dict[str, str]:
    """The hash of every artifact and metric that does not depend on the machine or the clock."""
    files = [path for folder in ("artifacts", "metrics") for path in sorted((project / folder).rglob("*"))]
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and path.name != ".gitignore" and not TIMED & set(path.parts)
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `dvc repro` has run once."""
    project = make_project(tmp_path_factory.mktemp("one") / "winnow")
    first = run(project, "dvc", "repro")
    assert sorted(stages_run(first)) == sorted(STAGES)
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "reproduced")
    return project


@pytest.fixture
def again(project: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced project, at another path, with its DVC cache, to spoil as a test likes."""
    copied = tmp_path / "copy"
    shutil.copytree(project, copied, symlinks=True)
    return copied


def test_repro_leaves_nothing_to_do(project: Path) -> None:
    assert "up to date" in run(project, "dvc", "status").stdout
    assert stages_run(run(project, "dvc", "repro")) == []


def test_stages_read_what_dvc_exp_run_sets(again: Path) -> None:
    settings = ["-S", "finetune.encoder_learning_rate=5e-5", "-S", 'validate.labels=["no","yes"]', "-S", "data_seed=21"]
    run(again, "dvc", "exp", "run", "--quiet", *settings, "ingest")
    params = load_params(again / "params.yaml")
    assert "encoder_learning_rate: 5e-05" in (again / "params.yaml").read_text()
    assert params.finetune.encoder_learning_rate == 0.00005
    assert params.validate_.labels == ["no", "yes"]
    assert "data_seed: 21" in run(again, "git", "diff", "dvc.lock").stdout


def test_a_longer_schedule_of_the_student_asks_its_teacher_nothing(again: Path) -> None:
    edit_params(again, distill__epochs=7)
    assert "up to date" in run(again, "dvc", "status", "finetune", "cache_logits").stdout
    assert "params.yaml" in run(again, "dvc", "status", "distill").stdout


PAGE = (REPOSITORY / "docs/compression.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
AND_AGREES = """
from winnow import load
classify = load("artifacts/models/quantized")
"""
OUGHT = (  # of each example, in order: what holds after it
    "label = classify(['Return the eigenvalues of a symmetric matrix.'])[0].label\n"
    "assert about['space']['labels'][logits.argmax()] == label",
    "np.testing.assert_allclose(probabilities, classify.probabilities(texts), atol=0.02)",  # padded; int8 rounds
    "own = encoder.state_dict()\n"
    "assert all((own[k.removeprefix('encoder.')] == v).all() for k, v in weights.items() if k.startswith('encoder.'))",
    "assert classify.probabilities(['one text', 'another']).shape == (2, len(classify.labels))",
)


@pytest.mark.parametrize("number", range(len(OUGHT)))
def test_what_the_page_on_compression_shows_works(project: Path, number: int) -> None:
    assert len(SHOWN) == len(OUGHT)
    shown = SHOWN[number].replace("models/pruned", "models/student")  # the page says: with all heads kept
    run(project, f"{warm_python.bin_folder()}/forked", "-c", f"{shown}{AND_AGREES}{OUGHT[number]}\n")


def test_every_row_is_kept_or_quarantined_with_its_reason(project: Path) -> None:
    report = json.loads((project / "metrics/data/cleaning.json").read_text())
    with (project / "data/corpus.csv").open(encoding="utf-8") as file:
        rows = len(list(csv.DictReader(file)))
    assert report["unreadable"] + report["read"] == rows == report["unreadable"] + report["kept"] + report["dropped"]
    reasons = pq.read_table(project / "artifacts/data/quarantine.parquet")["reason"].to_pylist()
    assert reasons.count("too_short") == 1
    assert reasons.count("exact_duplicate") == 1


def test_the_data_report_counts_what_the_files_hold_and_is_told_in_markdown(project: Path) -> None:
    steps = json.loads((project / "metrics/data/report.json").read_text())["steps"]
    clean = pq.read_table(project / "artifacts/data/clean.parquet")["split"].to_pylist()
    assert steps["source"] == steps["unreadable"] + steps["dropped"] + steps["kept"]
    assert steps["kept"] == len(clean)
    assert {split: steps[split] for split in ("train", "validation", "test")} == {
        split: clean.count(split) for split in ("train", "validation", "test")
    }
    told = run(project, "winnow", "data").stdout
    assert f"| source | {steps['source']} |" in told
    assert re.search(r"\| too short \| 1 \| `\w+` o \(\w+\) \|", told)


def test_every_model_has_quality_and_profile(project: Path) -> None:
    for model in MODELS:
        quality = json.loads((project / f"metrics/quality/{model}.json").read_text())
        assert {"accuracy", "macro_f1", "rows"} <= quality.keys()
        assert quality["rows"] == pq.read_table(project / f"artifacts/predictions/{model}.parquet").num_rows > 0
        profile = json.loads((project / f"metrics/profile/{model}.json").read_text())
        assert {
            "latency_p50_ms",
            "latency_p99_ms",
            "throughput_rows_per_s",
            "start_up_ms",
            "size_mb",
            "peak_rss_mb",
        } <= {key for key, value in profile.items() if isinstance(value, float) and value > 0}
        assert profile["throughput"]["threads_1"].keys() == {"batch_1", "batch_8"}
        assert "cores" in profile["processor"]
        assert profile["rounds"]["latency_p50_ms"] == [profile["latency_p50_ms"]], "of one round"
        assert {"ece", "brier", "slices", "worst_slice", "robustness", "fairness", "intervals"} <= quality.keys()


def test_models_learned_the_topics(project: Path) -> None:
    scores = {
        model: json.loads((project / f"metrics/quality/{model}.json").read_text())["accuracy"] for model in MODELS
    }
    assert scores["baseline"] > 0.9  # each topic has words of its own
    assert scores["static"] > 0.9
    assert scores["probe"] > 0.6  # the tiny encoder is a random one; by chance it would be a third
    assert scores["teacher"] > 0.9
    assert scores["quantized"] > 0.8


def test_the_step_from_pruned_to_int8_is_compared_row_by_row(project: Path) -> None:
    found = json.loads((project / "metrics/comparison.json").read_text())["quantized_and_pruned"]
    tables = [
        pq.read_table(project / f"artifacts/predictions/{m}.parquet").to_pandas() for m in ("quantized", "pruned")
    ]
    assert found["agreement"] == pytest.approx((tables[0]["answer"] == tables[1]["answer"]).mean(), abs=1e-6)
    assert found["accuracy"]["low"] <= found["accuracy"]["difference"] <= found["accuracy"]["high"]


def test_the_released_model_is_calibrated_on_validation_rows(project: Path) -> None:
    description = json.loads((project / "artifacts/models/quantized/model.json").read_text())
    assert 0.05 <= description["temperature"] <= 20
    assert description["temperature"] != 1


def test_what_int8_cost_is_written_down_and_within_the_limit(project: Path) -> None:
    found = json.loads((project / "metrics/quantization.json").read_text())
    description = json.loads((project / "artifacts/models/quantized/model.json").read_text())
    assert found["lost"] <= found["max_loss"]
    assert {name: found[name] for name in ("backend", "activations", "kept")}.items() <= description.items()


def test_metrics_agree_with_the_predictions_kept(project: Path) -> None:
    table = pq.read_table(project / "artifacts/predictions/quantized.parquet").to_pandas()
    quality = json.loads((project / "metrics/quality/quantized.json").read_text())
    right = table["truth"] == table["answer"]
    assert quality["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert (table["score"] == right).all()
    probabilities = table.filter(like="p_").to_numpy()
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (table.filter(like="p_").columns[probabilities.argmax(1)].str[2:] == table["answer"]).all()
    assert np.allclose(probabilities.max(1), table["confidence"])


def test_curves_and_confusion_are_plotted(project: Path) -> None:
    shown = run(project, "dvc", "plots", "show", "--json")
    assert shown.stdout
    page = run(project, "dvc", "plots", "show", "-o", "plots").stdout
    html = (project / "plots/index.html").read_text()
    shutil.rmtree(project / "plots")
    assert "file://" in page
    data = (
        "Rows, from source to split",
        "Why rows were dropped",
        "Test rows of each label",
        "Lengths of the clean texts",
    )
    for title in (*data, "Training loss", "Macro-F1 on validation", "Confusion of quantized"):
        assert title in html


def test_predict_answers_from_the_quantized_folder_without_torch(project: Path) -> None:
    code = (
        "import sys; from flows.cli.commands import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers', 'pydantic'} & sys.modules.keys(), 'heavy imports'"
    )
    command = ["python", "-c", code, "predict", "--json", "the ship and the sailor near the harbour"]
    answer = json.loads(run(project, *command).stdout)
    assert answer["label"] == "sea"
    assert 0.3 < answer["probability"] <= 1


def test_a_model_opens_in_python_without_torch_and_says_what_the_command_says(project: Path) -> None:
    code = (
        "import json, sys; from winnow import load\n"
        "classify = load('artifacts/models/quantized', threads=1)\n"
        "texts = ['the ship and the sailor near the harbour', 'a knife', 'bread and butter with a spoon']\n"
        "print(json.dumps([list(answer) for answer in classify(texts)]))\n"
        "assert classify([]) == [] and len(classify.labels) == 3\n"
        "assert not {'torch', 'transformers', 'pydantic'} & sys.modules.keys(), 'heavy imports'"
    )
    answers = json.loads(run(project, "python", "-c", code, PYTHONPATH=str(REPOSITORY)).stdout)
    said = json.loads(run(project, "winnow", "predict", "--json", "the ship and the sailor near the harbour").stdout)
    assert answers[0] == [said["label"], pytest.approx(said["probability"], abs=1e-6)]
    assert [label for label, _ in answers] == ["sea", "kitchen", "kitchen"]


def test_the_pruned_model_is_smaller_and_the_report_says_by_what(project: Path) -> None:
    report = json.loads((project / "metrics/data/pruning.json").read_text())
    tokens, parameters = report["tokens"], report["parameters"]
    assert tokens[1] == tokens[0] - len(UNUSED)
    assert parameters[1] < parameters[0]
    assert report["feed_forward"] == [[64, 32]] * 2
    assert report["heads"] == [[4, 3]] * 2
    tokenizer = json.loads((project / "artifacts/models/quantized/tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) == tokens[1]


def test_where_nothing_is_to_be_pruned_the_student_is_passed_on(again: Path) -> None:
    edit_params(again, prune__vocabulary="all", prune__heads_kept=1.0, prune__feed_forward_kept=1.0)
    run(again, "python", "-m", "stages.prune")
    models = again / "artifacts/models"
    weights = [(models / name / "model.safetensors").read_bytes() for name in ("student", "pruned")]
    assert weights[0] == weights[1]


def test_an_altered_artefact_is_refused(again: Path) -> None:
    model = again / "artifacts/models/quantized/model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.unlink()
    model.write_bytes(content)
    done = run(again, "winnow", "predict", "some text", check=False)
    assert done.returncode == 1
    assert "model.onnx was altered" in done.stderr
    assert "Traceback" not in done.stderr


def test_dynamic_activations_rerun_quantize_and_what_follows_only(again: Path) -> None:
    edit_params(again, quantize__activations="dynamic")
    ran = stages_run(run(again, "dvc", "repro"))  # compare runs where an answer came out otherwise
    assert {*ran} - {"compare"} == {"quantize", "evaluate@quantized", "profile"}


LEARNERS = {"static", "probe", "finetune", "cache_logits", "distill", "prune"}


def test_a_comment_in_another_tasks_files_reruns_nothing(again: Path) -> None:
    other = again / "stages/tasks/another_task"
    shutil.copytree(again / "stages/tasks/text_classification", other)
    table = again / "stages/tasks/__init__.py"
    table.write_text(table.read_text().replace("}\n", '    "another_task": "stages.tasks.another_task",\n}\n'))
    assert "up to date" in run(again, "dvc", "status").stdout
    for file in other.glob("*.py"):
        file.write_text(file.read_text().replace("tasks.text_classification", "tasks.another_task") + "# a comment\n")
    assert "up to date" in run(again, "dvc", "status").stdout
    edit_params(again, task__name="another_task")
    changed = json.loads(run(again, "dvc", "status", "--json").stdout)
    assert changed.keys() >= {"ingest", "tokenize", "baseline", *LEARNERS, "quantize", "compare"}
    for stage, files in (("finetune", ["learning", "scores"]), ("compare", ["measures", "scores"])):
        named = {path for change in changed[stage] for path in change.get("changed deps", {}) if "tasks" in path}
        assert named == {f"stages/tasks/another_task/{file}.py" for file in files}


@pytest.mark.parametrize(
    ("part", "stages"),
    [
        ("data", {"ingest", "clean", "validate", "report"}),
        ("learning", LEARNERS),
        ("answers", {"baseline", "quantize", "profile", *(f"evaluate@{model}" for model in MODELS)}),
        ("measures", {"compare", *(f"evaluate@{model}" for model in MODELS)}),
    ],
)
def test_a_comment_in_a_file_of_the_chosen_task_reruns_the_stages_that_read_it(
    again: Path, part: str, stages: set[str]
) -> None:
    chosen = again / f"stages/tasks/text_classification/{part}.py"
    chosen.write_text(chosen.read_text() + "# a comment\n")
    assert json.loads(run(again, "dvc", "status", "--json").stdout).keys() == stages


@pytest.mark.slow
def test_the_flow_in_another_clone_ends_in_the_same_lock(project: Path, tmp_path: Path) -> None:
    other = make_project(tmp_path / "at" / "another path")
    done = run(other, "winnow", "reproduce", PREFECT_HOME=str(tmp_path / "prefect"))
    assert lock(other) == lock(project)
    assert "up to date" in run(other, "dvc", "status").stdout
    assert "quantized" in done.stdout


def broken_missing_file(project: Path) -> str:
    edit_params(project, ingest__path="data/nowhere.csv")
    return "data/nowhere.csv"


def broken_unknown_column(project: Path) -> str:
    edit_params(project, ingest__columns__label="topics")
    return "topics"


def broken_empty_file(project: Path) -> str:
    (project / "data/corpus.csv").write_text("")
    return "corpus.csv"


def broken_one_class(project: Path) -> str:
    write_corpus(project / "data/corpus.csv", labels=("sea",), rows_per_label=150)
    return "label"


def broken_task(project: Path) -> str:
    edit_params(project, task="text_clasification")
    return "text_clasification"


def broken_model(project: Path) -> str:
    edit_params(project, model__name="nobody/no-such-model", model__revision="0" * 40)
    return "nobody/no-such-model"


def broken_yaml(project: Path) -> str:
    (project / "params.yaml").write_text("seed: [1,\n")
    return "params.yaml"


BROKEN = [
    broken_missing_file, broken_unknown_column, broken_empty_file, broken_one_class, broken_task, broken_model,
    broken_yaml,
]  # fmt: skip


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda function: function.__name__.removeprefix("broken_"))
def test_bad_input_ends_in_a_clear_line_and_earlier_artifacts_stay(again: Path, break_it) -> None:
    before = fingerprint(again)
    names = break_it(again)
    done = run(again, "sh", "-c", "winnow check && dvc repro", check=False)  # as `make repro` does
    assert done.returncode != 0
    assert names in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    after = {name: digest for name, digest in fingerprint(again).items() if "validation-failed" not in name}
    if break_it is broken_one_class:  # ingest and clean did their work before validate refused it
        upstream = ("artifacts/data/", "metrics/data/cleaning", "metrics/data/ingest")
        before, after = ({k: v for k, v in x.items() if not k.startswith(upstream)} for x in (before, after))
    assert after == before


@pytest.mark.slow
def test_windows_and_a_trained_tokenizer_go_all_the_way_to_the_folder(again: Path) -> None:
    edit_params(
        again, tokenize__max_tokens=6, tokenize__long_texts="windows", tokenize__stride=1,
        tokenize__tokenizer="trained", tokenize__vocabulary_size=110,
    )  # fmt: skip
    run(again, "dvc", "repro", "evaluate@quantized")
    report = json.loads((again / "metrics/data/tokens.json").read_text())
    assert report["train"]["windows_per_row"] > 2
    assert report["vocabulary"]["new_tokens"] > 0
    folder = again / "artifacts/models/quantized"
    described = json.loads((folder / "model.json").read_text())
    assert (described["long_texts"], described["stride"]) == ("windows", 1)
    assert "read in windows" in (folder / "README.md").read_text()
    assert json.loads((again / "metrics/quality/quantized.json").read_text())["accuracy"] > 0.8
    text = "with the old the near some over under a slow ship captain anchor harbour"  # what tells stands at the end
    assert json.loads(run(again, "winnow", "predict", "--json", text).stdout)["label"] == "sea"
