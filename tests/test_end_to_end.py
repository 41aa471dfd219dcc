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
import yaml
from conftest import edit_params, make_project, run, write_corpus

MODELS = ("baseline", "teacher", "student", "quantized")
STAGES = [
    "ingest", "clean", "validate", "tokenize", "baseline", "finetune", "cache_logits", "distill", "quantize", "compare",
    *(f"{stage}@{model}" for stage in ("evaluate", "profile") for model in MODELS),
]  # fmt: skip


def stages_run(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"Running stage '(.+?)'", done.stdout)


def lock(project: Path) -> dict:
    """dvc.lock without `profile`, whose figures are the machine's."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {name: stage for name, stage in stages.items() if not name.startswith("profile@")}


def fingerprint(project: Path) -> dict[str, str]:
    """The hash of every artifact and metric."""
    files = [path for folder in ("artifacts", "metrics") for path in sorted((project / folder).rglob("*"))]
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and ".locks" not in path.parts and "data_docs" not in path.parts and path.name != ".gitignore"
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


def test_every_row_is_kept_or_quarantined_with_its_reason(project: Path) -> None:
    report = json.loads((project / "metrics/data/cleaning.json").read_text())
    with (project / "data/corpus.csv").open(encoding="utf-8") as file:
        rows = len(list(csv.DictReader(file)))
    assert report["read"] == rows == report["kept"] + report["dropped"]
    reasons = pq.read_table(project / "artifacts/data/quarantine.parquet")["reason"].to_pylist()
    assert reasons.count("too_short") == 1
    assert reasons.count("exact_duplicate") == 1


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
        assert {"ece", "brier", "slices", "worst_slice", "robustness", "fairness", "intervals"} <= quality.keys()


def test_models_learned_the_topics(project: Path) -> None:
    scores = {
        model: json.loads((project / f"metrics/quality/{model}.json").read_text())["accuracy"] for model in MODELS
    }
    assert scores["baseline"] > 0.9  # each topic has words of its own
    assert scores["teacher"] > 0.9
    assert scores["quantized"] > 0.8


def test_the_step_from_student_to_int8_is_compared_row_by_row(project: Path) -> None:
    found = json.loads((project / "metrics/comparison.json").read_text())["quantized_and_student"]
    tables = [
        pq.read_table(project / f"artifacts/predictions/{m}.parquet").to_pandas() for m in ("quantized", "student")
    ]
    assert found["agreement"] == pytest.approx((tables[0]["predicted"] == tables[1]["predicted"]).mean(), abs=1e-6)
    assert found["accuracy"]["low"] <= found["accuracy"]["difference"] <= found["accuracy"]["high"]


def test_the_released_model_is_calibrated_on_validation_rows(project: Path) -> None:
    description = json.loads((project / "artifacts/models/quantized/model.json").read_text())
    assert 0.05 <= description["temperature"] <= 20
    assert description["temperature"] != 1


def test_metrics_agree_with_the_predictions_kept(project: Path) -> None:
    table = pq.read_table(project / "artifacts/predictions/quantized.parquet").to_pandas()
    quality = json.loads((project / "metrics/quality/quantized.json").read_text())
    assert quality["accuracy"] == pytest.approx((table["label"] == table["predicted"]).mean(), abs=1e-6)
    probabilities = table.filter(like="p_").to_numpy()
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (table.filter(like="p_").columns[probabilities.argmax(1)].str[2:] == table["predicted"]).all()


def test_curves_and_confusion_are_plotted(project: Path) -> None:
    shown = run(project, "dvc", "plots", "show", "--json")
    assert shown.stdout
    page = run(project, "dvc", "plots", "show", "-o", "plots").stdout
    html = (project / "plots/index.html").read_text()
    shutil.rmtree(project / "plots")
    assert "file://" in page
    for title in ("Training loss", "Macro-F1 on validation", "Confusion of quantized"):
        assert title in html


def test_predict_answers_from_the_quantized_folder_without_torch(project: Path) -> None:
    code = (
        "import sys; from flows.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers', 'pydantic'} & sys.modules.keys(), 'heavy imports'"
    )
    command = ["python", "-c", code, "predict", "--json", "the ship and the sailor near the harbour"]
    answer = json.loads(run(project, *command).stdout)
    assert answer["label"] == "sea"
    assert 0.3 < answer["probability"] <= 1


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


def test_a_new_temperature_reruns_distill_and_what_follows_only(again: Path) -> None:
    edit_params(again, distill__temperature=3.0)
    ran = stages_run(run(again, "dvc", "repro"))
    followers = [f"{stage}@{model}" for stage in ("evaluate", "profile") for model in ("student", "quantized")]
    assert sorted(ran) == sorted(["distill", "quantize", "compare", *followers])


def test_a_comment_in_another_tasks_file_reruns_nothing(again: Path) -> None:
    other = again / "stages/tasks/another_task.py"
    shutil.copyfile(again / "stages/tasks/sequence_classification.py", other)
    table = again / "stages/tasks/__init__.py"
    table.write_text(table.read_text().replace("}\n", '    "another_task": "stages.tasks.another_task:TASK",\n}\n'))
    assert "up to date" in run(again, "dvc", "status").stdout
    other.write_text(other.read_text() + "# a comment\n")
    assert "up to date" in run(again, "dvc", "status").stdout
    edit_params(again, task="another_task")
    changed = json.loads(run(again, "dvc", "status", "--json").stdout)
    assert {"tokenize", "finetune", "distill"} <= changed.keys()
    assert not {"ingest", "clean", "validate"} & changed.keys()


def test_a_comment_in_the_chosen_tasks_file_reruns_its_stages(again: Path) -> None:
    chosen = again / "stages/tasks/sequence_classification.py"
    chosen.write_text(chosen.read_text() + "# a comment\n")
    changed = json.loads(run(again, "dvc", "status", "--json").stdout)
    assert changed.keys() == {"tokenize", "finetune", "cache_logits", "distill"}


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
    edit_params(project, ingest__label_column="topics")
    return "topics"


def broken_empty_file(project: Path) -> str:
    (project / "data/corpus.csv").write_text("")
    return "corpus.csv"


def broken_one_class(project: Path) -> str:
    write_corpus(project / "data/corpus.csv", labels=("sea",), rows_per_label=150)
    return "label"


def broken_task(project: Path) -> str:
    edit_params(project, task="sequence_clasification")
    return "sequence_clasification"


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
        upstream = ("artifacts/data/", "metrics/data/cleaning")
        before, after = ({k: v for k, v in x.items() if not k.startswith(upstream)} for x in (before, after))
    assert after == before
