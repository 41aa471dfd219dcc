"""The `winnow` command, as a user runs it: in a child process, in a project's folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import flow_fixtures
import numpy as np
import pytest
from conftest import read_terminal
from flow_fixtures import ROOT, change, environment, make_project, winnow, write_word_model
from safetensors.numpy import save_file

from stages.core.files import write_json

project, finished = flow_fixtures.project, flow_fixtures.finished


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that no test changes."""
    return make_project(tmp_path_factory.mktemp("shared") / "project")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_model(tmp_path_factory.mktemp("model"))


def only_line(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def write_weights(folder: Path) -> None:
    """Weights of an encoder as small as can be, for a config.json that says no sizes."""
    save_file({"embeddings.word_embeddings.weight": np.zeros((1, 1), dtype=np.float32)}, folder / "model.safetensors")


RIGHT = "ok: params.yaml is right: text_classification of "


def test_check_says_in_a_line_that_all_is_well(shared: Path):
    done = winnow(shared, "check")
    assert (done.returncode, only_line(done.stdout), done.stderr) == (0, f"{RIGHT}constraints.txt (docstrings)", "")


def test_check_asks_no_server_whether_data_on_s3_are_there(project: Path):
    change(project, ingest__source="files", ingest__path="s3://bucket/rows")
    done = winnow(project, "check")
    assert (done.returncode, only_line(done.stdout), done.stderr) == (0, f"{RIGHT}s3://bucket/rows (files)", "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"task__name": "text_clasification"},
            "text_classification, text_generation, token_classification. Did you mean 'text_classification'?",
        ),
        (
            {"task__measure": "acuracy"},
            "task.measure is 'acuracy'. Allowed: accuracy, macro_f1. Did you mean 'accuracy'?",
        ),
        ({"validate__min_labels": 1}, "validate.min_labels is 1. Allowed for labels of texts: 2 or more."),
        (
            {"ingest__source": "file"},
            "ingest.source is 'file'. Allowed: docstring_pairs, docstring_questions, docstring_roles,"
            " docstring_summaries, docstring_texts, docstring_types, docstrings, emoji, files, hub, human_ratings,"
            " parallel. Did you mean 'files'?",
        ),
        ({"model__family": "encodr"}, "Did you mean 'encoder'?"),
        (
            {"distill__family": "bilstn"},
            "distill.family is 'bilstn'. Allowed: bilstm, decoder, encoder, encoder_decoder, two_towers."
            " Did you mean 'bilstm'?",
        ),
        (
            {"distill__family": "bilstm"},
            "distill.family is 'bilstm', whose layers have neither attention heads nor feed-forward neurons."
            " Set prune.feed_forward_kept: 1.0.",
        ),
        (
            {"distill__family": "bilstm", "prune__feed_forward_kept": 1.0, "quantize__backend": "openvino_int8"},
            "quantize.backend is 'openvino_int8', and distill.family 'bilstm'. Allowed for it: auto, onnxruntime_int8.",
        ),
        (
            {"model__family": "bilstm"},
            "model.family is 'bilstm', which has no pretrained weights. Allowed: encoder, two_towers.",
        ),
        ({"quantize__backend": "onnxruntime"}, "Did you mean 'onnxruntime_int8'?"),
        pytest.param(
            {"quantize__backend": "torchao_int8"},
            "quantize.backend is 'torchao_int8', which needs the package 'torchao': it is not installed. Install it:",
            marks=pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed"),
        ),
        (
            {"ingest__path": "data/none.csv"},
            "ingest.path is 'data/none.csv'. There is no such file or folder.",
        ),
        (
            {"ingest__source": "files", "ingest__path": "constraints.txt"},
            "ingest.path is 'constraints.txt' (.txt). Allowed: a file that ends in .csv, .tsv, .jsonl",
        ),
        (
            {"ingest__source": "files", "ingest__path": "gs://bucket/rows.csv"},
            "ingest.path is a gs:// URL. Allowed: a path, or a URL with s3://.",
        ),
        (
            {"model__name": "./nowhere", "model__revision": None},
            "model.name is './nowhere': there is no such folder.",
        ),
        (
            {"promotion__max_error_rate_gap": 0.1},
            "promotion.max_error_rate_gap is 0.1, and evaluate.positive_class null, of whose errors it is.",
        ),
        (
            {"evaluate__positive_class": "toxic"},
            "evaluate.positive_class is 'toxic', and evaluate.group_column null, so that it is measured of no group.",
        ),
        ({"finetune__precision": "fp61"}, "finetune.precision is 'fp61'. Allowed: auto, fp16, bf16, fp32."),
        (
            {"ingest__splits__transfer": "unlabelled"},
            "Set clean.unlabelled: transfer, or ingest.splits.transfer: null.",
        ),
    ],
)
def test_check_says_a_mistake_in_one_line(project: Path, values: dict[str, object], message: str):
    change(project, **values)
    done = winnow(project, "check")
    assert done.returncode == 1
    assert message in only_line(done.stderr)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("rows.csv", "text,label\nThe ship is at sea.,sea\n"),
        ("rows.tsv", "text\tlabel\nThe ship is at sea.\tsea\n"),
        ("rows.jsonl", '{"text": "The ship is at sea.", "label": "sea"}\n'),
    ],
)
@pytest.mark.parametrize("key", ["columns__text", "columns__label", "split_column"])
def test_check_finds_a_column_that_the_file_has_not(project: Path, name: str, rows: str, key: str):
    (project / name).write_text(rows)
    change(project, ingest__source="files", ingest__path=name)
    assert winnow(project, "check").returncode == 0
    change(project, **{f"ingest__{key}": "boddy"})
    said = only_line(winnow(project, "check").stderr)
    assert f"ingest.{key.replace('__', '.')}" in said
    assert all(column in said for column in ("'boddy'", "text", "label"))


def test_check_says_what_of_a_model_could_not_be_pruned_hours_later(project: Path):
    folder = project / "model"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "roberta"})
    write_json(folder / "tokenizer.json", {"model": {"type": "WordLevel"}})
    write_weights(folder)
    change(project, model__name=str(folder), model__revision=None)
    done = winnow(project, "check")
    said = "prune.vocabulary is corpus, and the tokenizer's type is WordLevel. Allowed for it: all"
    assert said in only_line(done.stderr)
    change(project, prune__vocabulary="all")
    assert winnow(project, "check").returncode == 0


def test_check_says_more_tokens_than_the_model_has_positions_for_from_any_folder(project: Path):
    below = project / "some"
    below.mkdir()
    (project / "model").mkdir()
    sizes = {"max_position_embeddings": 66, "pad_token_id": 1}
    write_json(project / "model/config.json", {"model_type": "camembert", **sizes})
    write_weights(project / "model")
    write_json(project / "model/tokenizer.json", {"model": {"vocab": {"[UNK]": 0}}})
    change(project, model__name="./model", model__revision=None, tokenize__max_tokens=65)
    said = "tokenize.max_tokens is 65. Allowed: at most 64, which is what the model takes."
    assert said in only_line(winnow(below, "check").stderr)


def test_nothing_that_a_file_holds_commands_the_terminal(project: Path):
    (project / "data").mkdir(exist_ok=True)
    (project / "data/rows.csv").write_text("text,la\x1b]0;owned\x07bel\nThe ship is at sea.,sea\n")
    command = [sys.executable, "-m", "flows.cli", "init", "other", "--data", "data/rows.csv", "--label", "no\x1b[2Jpe"]
    keeper, terminal = os.openpty()
    done = subprocess.run(command, cwd=project, stderr=terminal, stdout=terminal, check=False, env=environment())
    os.close(terminal)
    said = read_terminal(keeper)
    assert done.returncode != 0
    assert b"la" in said
    assert b"\x07" not in said
    assert b"]0;owned" in said
    assert b"\x1b" not in said


def test_check_says_every_mistake(project: Path):
    change(project, model__family="encodr", ingest__path="nowhere")
    assert len(winnow(project, "check").stderr.splitlines()) == 2


def test_params_that_are_not_yaml_are_one_line_with_the_place(project: Path):
    (project / "params.yaml").write_text("seed: 1\ntask: [\n")
    for command in ("check", "plan", "reproduce"):
        done = winnow(project, command)
        assert done.returncode == 1
        assert only_line(done.stderr).startswith("winnow: params.yaml, line 3, column 1: not YAML:")


def test_outside_a_project_the_error_says_so(tmp_path: Path):
    done = winnow(tmp_path, "plan")
    assert done.returncode == 1
    assert only_line(done.stderr) == (
        f"winnow: {tmp_path}: no dvc.yaml here or above. Run this from inside a Winnow project, or start one: "
        "`winnow init FOLDER --data FILE`."
    )


@pytest.mark.parametrize(
    ("word", "command"),
    [("train", "reproduce"), ("run", "reproduce"), ("repro", "reproduce"), ("start", "reproduce"), ("chekc", "check")],
)
def test_a_word_that_is_no_command_is_told_with_the_one_that_is_meant(tmp_path: Path, word: str, command: str):
    done = winnow(tmp_path, word)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: No such command '{word}'. Did you mean '{command}'?"


def test_an_unpacked_archive_is_told_how_to_become_what_dvc_needs(project: Path):
    shutil.rmtree(project / ".git")
    told = {only_line(winnow(project, command).stderr) for command in ("check", "plan", "review")}
    assert told == {
        f"winnow: {project} is in no git repository, and DVC needs one. Make it one: "
        "`git init && git add . && git commit -m start`; or clone instead of unpacking an archive."
    }
    names = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    remedy = "git init --quiet && git add . && git commit --quiet -m start"
    subprocess.run(["sh", "-c", remedy], cwd=project, env=environment(**names), check=True)
    assert winnow(project, "plan").stdout.startswith("All 5 stages would run: ")


def test_a_project_that_does_without_git_by_dvcs_own_setting_is_not_refused(project: Path):
    shutil.rmtree(project / ".git")
    (project / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    assert winnow(project, "plan").stdout.startswith("All 5 stages would run: ")


@pytest.mark.parametrize("base", [[], ["--base", "HEAD~1"]])
def test_a_shallow_clone_is_told_how_to_get_its_history(shared: Path, tmp_path: Path, base: list[str]):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{shared}", str(clone)], check=True)
    said = only_line(winnow(clone, "review", *base).stderr)
    assert said.endswith("This clone is shallow: `git fetch --unshallow` gets its history.")


def test_plan_says_what_would_run_from_any_folder_of_the_project(project: Path):
    below = project / "some/folder"
    below.mkdir(parents=True)
    assert winnow(below, "plan").stdout.splitlines() == [
        "All 5 stages would run: none has ever run.",
        "`winnow plan --verbose` gives each by itself.",
        "How long that takes is unknown: none of these stages has run here.",
    ]
    assert winnow(below, "plan", "--verbose").stdout.splitlines()[1:3] == [
        "clean             it has never run",
        "                  after ingest",
    ]


def test_plan_says_that_there_is_nothing_to_do_or_which_value_changed(finished: Path):
    assert winnow(finished, "plan").stdout == "Nothing to do: every stage is up to date.\n"
    change(finished, seed=21)
    reasons = json.loads(winnow(finished, "plan", "--json").stdout)
    assert reasons["ingest"] == reasons["alone"] == ["seed: 20 -> 21"]
    assert reasons["clean"] == ["after ingest"]


def test_metrics_says_what_to_run_where_there_are_none_and_prints_them_where_there_are(project: Path):
    done = winnow(project, "metrics")
    assert done.returncode == 1
    assert "no metrics yet. Run `winnow reproduce`" in only_line(done.stderr)
    write_json(project / "metrics/quality/teacher.json", {"accuracy": 0.5, "macro_f1": 0.25, "rows": 4})
    lines = winnow(project, "metrics").stdout.splitlines()
    teacher = next(line.split() for line in lines if line.startswith("teacher"))
    assert teacher[:5] == ["teacher", "50.0%", "25.0%", "-", "100.0%"]
    shown = {row["model"]: row for row in json.loads(winnow(project, "metrics", "--json").stdout)}
    assert shown["teacher"]["macro_f1"] == 0.25
    assert "| teacher | 50.0% | 25.0% | - | 100.0% |" in winnow(project, "metrics", "--markdown").stdout


def test_predict_answers_texts_in_their_order(model: Path, tmp_path: Path):
    done = winnow(tmp_path, "predict", "--model", str(model), "the ship", "new\nbread")
    assert done.stdout == "sea\t0.9526\tthe ship\nkitchen\t0.9933\tnew bread\n"  # 1 / (1 + e^-3), 1 / (1 + e^-5)


def test_predict_reads_lines_and_writes_an_object_a_line(model: Path, tmp_path: Path):
    (tmp_path / "texts.txt").write_bytes("\ufeffship\r\nbröd bread\r\n".encode())
    done = winnow(tmp_path, "predict", "--json", "--model", str(model), "--file", "texts.txt", "--threads", "1")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["text"], first["label"]) == ("ship", "sea")
    assert (second["text"], second["label"]) == ("bröd bread", "kitchen")
    assert second["probability"] == second["probabilities"]["kitchen"] == pytest.approx(0.99331, abs=1e-5)


def test_predict_reads_the_standard_input(model: Path, tmp_path: Path):
    done = winnow(tmp_path, "predict", "--model", str(model), "--file", "-", stdin=b"bread\n")
    assert done.stdout == "kitchen\t0.9933\tbread\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["bread", " "], b"", "text 2 is empty"),
        (["--file", "none.txt"], b"", "No such file"),
    ],
)
def test_predict_names_the_text_that_is_wrong(
    model: Path, tmp_path: Path, arguments: list[str], stdin: bytes, message: str
):
    done = winnow(tmp_path, "predict", "--model", str(model), *arguments, stdin=stdin)
    assert done.returncode == 1
    assert message in only_line(done.stderr)


@pytest.mark.parametrize("arguments", [[], ["bread", "--file", "-"]])
def test_predict_needs_texts_or_a_file_and_not_both(shared: Path, arguments: list[str]):
    done = winnow(shared, "predict", *arguments)
    assert done.returncode == 2
    assert "Usage: winnow predict" in done.stderr


def test_predict_without_a_model_says_how_to_get_one(shared: Path):
    assert "Run `winnow reproduce`" in only_line(winnow(shared, "predict", "bread").stderr)
    assert "no model there" in only_line(winnow(shared, "predict", "bread", "--model", "nowhere").stderr)


def test_predict_refuses_an_altered_model_and_shows_the_traceback_when_asked(model: Path, tmp_path: Path):
    altered = tmp_path / "altered"
    altered.mkdir()
    for path in model.iterdir():
        (altered / path.name).write_bytes(path.read_bytes())
    (altered / "vocabulary.json").write_text('["ship", "bread"]')
    assert "vocabulary.json was altered" in only_line(winnow(tmp_path, "predict", "x", "--model", "altered").stderr)
    debugged = winnow(tmp_path, "predict", "x", "--model", "altered", WINNOW_DEBUG="1")
    assert debugged.stderr.startswith("Traceback")


def test_a_reader_that_leaves_early_gets_no_complaint(model: Path, tmp_path: Path):
    (tmp_path / "many.txt").write_text("the ship with bread\n" * 50_000)
    command = [sys.executable, "-m", "flows.cli", "predict", "--model", str(model), "--file", "many.txt"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"kitchen\t")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 1


@pytest.mark.parametrize("where", [">&-", "<&- >&-", "| head -0"])
def test_a_standard_output_that_is_closed_is_no_error(shared: Path, where: str):
    command = ["sh", "-c", f"{sys.executable} -m flows.cli plan {where}"]
    done = subprocess.run(command, cwd=shared, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_closed_standard_error_loses_no_answer(shared: Path):
    command = ["sh", "-c", f"{sys.executable} -m flows.cli plan 2>&-"]
    done = subprocess.run(command, cwd=shared, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.startswith("All 5 stages would run: ")


def test_the_command_loads_nothing_heavy_before_it_knows_what_to_do():
    code = "import sys, flows.cli; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "prefect", "pydantic", "yaml", "pandas", "numpy", "dvc", "transformers", "psutil"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        ("winnow re", ["releases", "reproduce", "retrain", "review"]),
        ("winnow reproduce --stage ev", ["evaluate"]),
        ("winnow threshold --model s", ["static", "student"]),
        ("winnow init here --task text2", ["text2text_generation"]),
    ],
)
def test_shells_complete_commands_stages_models_and_tasks(shared: Path, words: str, proposed: list[str]):
    more = {"_WINNOW_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "flows.cli"]
    done = subprocess.run(command, cwd=shared, env=environment(**more), capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == ([f"plain,{name}" for name in proposed], "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_line_of_the_docs_gives_bash_its_completion(shared: Path, tmp_path: Path):
    (line,) = (line.strip() for line in (ROOT / "docs/commands.md").read_text().splitlines() if "bash_source" in line)
    (tmp_path / "winnow").write_text(f'#!/bin/sh\nexec {sys.executable} -m flows.cli "$@"\n')
    (tmp_path / "winnow").chmod(0o755)
    script = f"""{line}
COMP_WORDS=(winnow reproduce --stage ev) COMP_CWORD=3
_winnow_completion winnow
echo "${{COMPREPLY[@]}}"
complete -p winnow"""
    more = environment(PATH=f"{tmp_path}:{environment()['PATH']}")
    done = subprocess.run(["bash", "-c", script], cwd=shared, env=more, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "evaluate", done.stderr
    assert "-F _winnow_completion winnow" in done.stdout


def test_outside_a_project_no_stage_is_proposed_and_no_error_said(tmp_path: Path):
    more = {"_WINNOW_COMPLETE": "bash_complete", "COMP_WORDS": "winnow reproduce --stage ", "COMP_CWORD": "3"}
    command = [sys.executable, "-m", "flows.cli"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(**more), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_readme_is_renewed_and_then_found_fresh(project: Path):
    names = ("stages", "graph", "models", "projects")
    parts = "".join(f"<!-- begin: {name} --><!-- end: {name} -->\n" for name in names)
    (project / "README.md").write_text(f"# Toy\n{parts}")

    def readme(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows.review.readme", *arguments]
        return subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)

    stale = readme("--check")
    assert stale.returncode == 1
    assert "stale: stages, graph, models, projects." in only_line(stale.stderr)
    assert readme().returncode == 0
    text = (project / "README.md").read_text()
    assert "| `evaluate` | how good a model is |" in text
    assert "stage_clean --> stage_evaluate" in text
    assert readme("--check").returncode == 0
