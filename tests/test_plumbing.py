"""plugins, files, entry, model_folder: what every stage stands on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import REPOSITORY

from flows.cli.mistakes import mistakes
from stages.backends import runners
from stages.core import model_folder, plugins
from stages.core.entry import only_one
from stages.core.files import publish, refuse_remote_code, write_json, write_parquet
from stages.core.params.file import load_params
from stages.core.params.task import faults_of_task
from stages.core.paths import Paths


def test_an_unknown_plugin_is_told_with_what_is_allowed_and_the_nearest() -> None:
    table = {"files": "json:loads", "hub": "json:dumps"}
    with pytest.raises(ValueError) as error:
        plugins.load(table, "filse", key="ingest.source")
    assert str(error.value) == "params.yaml: ingest.source is 'filse'. Allowed: files, hub. Did you mean 'files'?"


def test_a_plugin_is_loaded_when_asked_for() -> None:
    assert plugins.load({"files": "json:loads"}, "files", key="ingest.source") is json.loads


def test_every_name_table_points_at_the_file_of_the_name() -> None:
    from stages.backends import QUANTIZERS, RUNNERS
    from stages.models import FAMILIES
    from stages.sources import SOURCES
    from stages.tasks import TASKS

    for package, table in {"sources": SOURCES, "tasks": TASKS, "models": FAMILIES}.items():
        for name, target in table.items():
            assert target.split(":")[0] == f"stages.{package}.{name}"
    parts = ("settings", "data", "encoding", "learning", "answers", "measures", "baseline")
    for name in TASKS:
        for part in parts:
            assert type(plugins.part(TASKS, name, part, key="task.name")).__name__ == f"Task{part.title()}"
    assert RUNNERS["tfidf"] == RUNNERS["linear"], "what it was called"
    runners = {name: target for name, target in RUNNERS.items() if name != "tfidf"}
    assert all(target == f"stages.backends.{name}.runner:open_runner" for name, target in runners.items())
    assert all(target == f"stages.backends.{name}.quantizer:quantize" for name, target in QUANTIZERS.items())


def test_a_file_that_fails_half_way_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), publish(path) as draft:  # noqa: PT012
        draft.write_text("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with publish(folder) as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_json_is_sorted_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert '"é"' in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_parquet_bytes_do_not_depend_on_chunks_or_metadata(tmp_path: Path) -> None:
    whole = pa.table({"a": list(range(10))}, metadata={"written": "today"})
    pieces = pa.concat_tables([pa.table({"a": list(range(4))}), pa.table({"a": list(range(4, 10))})])
    write_parquet(tmp_path / "a", whole)
    write_parquet(tmp_path / "b", pieces)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_stage_runs_once_at_a_time_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "locks/finetune.lock"
    code = (
        "import sys, time; from pathlib import Path; from stages.core.entry import only_one\n"
        "with only_one(Path(sys.argv[1]), 'finetune'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError, match=f"process {holder.pid} is running finetune"), only_one(lock, "finetune"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_one(lock, "finetune"):
        assert lock.read_text() == str(os.getpid())


def test_a_model_configuration_that_names_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(ValueError, match="names code to run"):
        refuse_remote_code(tmp_path)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"12345")
    model_folder.seal(tmp_path, backend="linear", task="text_classification", space={"labels": ["a", "b"]})
    return tmp_path


def test_a_sealed_folder_verifies(sealed: Path) -> None:
    model_folder.verify(sealed)
    assert model_folder.describe(sealed)["space"] == {"labels": ["a", "b"]}


def renamed_key(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("sha256", "sha257"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "weights").write_bytes(b"12346"), "weights was altered"),
        (lambda folder: (folder / "weights").unlink(), "weights is missing"),
        (lambda folder: (folder / "extra.py").touch(), "extra.py is not in the manifest"),
        (lambda folder: (folder / "model.json").write_text("{}"), "model.json was altered, or manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json was altered: it is no JSON object"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "manifest.json was altered: it is no JSON"),
        (lambda folder: renamed_key(folder / "manifest.json"), "model.json was altered, or manifest.json"),
        (lambda folder: (folder / "more").symlink_to(folder.parent), "more is a link to .*, which is no file"),
        (lambda folder: (folder / "more").symlink_to("nowhere"), "more is a link to nowhere, which is no file"),
        (lambda folder: (folder / "more").symlink_to("weights"), "more is not in the manifest"),
    ],
)
def test_a_spoiled_folder_is_refused(sealed: Path, spoil, said: str) -> None:
    spoil(sealed)
    with pytest.raises(ValueError, match=said):
        model_folder.verify(sealed)


def test_what_is_behind_a_link_to_a_folder_is_never_sealed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"model: tokenizer is a link to .*elsewhere, which is no file"):
        model_folder.seal(tmp_path / "model", backend="linear", task="t", space={"labels": ["a"]})


def test_a_link_to_a_file_counts_as_that_file(sealed: Path) -> None:
    (sealed / "weights").rename(sealed.parent / "cached")
    (sealed / "weights").symlink_to(sealed.parent / "cached")  # as DVC does by cache.type symlink
    model_folder.verify(sealed)
    (sealed.parent / "cached").write_bytes(b"12346")
    with pytest.raises(ValueError, match="weights was altered"):
        model_folder.verify(sealed)


def test_a_description_that_is_no_json_is_named(sealed: Path) -> None:
    (sealed / "model.json").write_text('{"backend": "linear" "task"}')
    with pytest.raises(ValueError, match=r"model\.json was altered: it is no JSON object. Do not use it"):
        runners.open_runner(sealed, threads=1)


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make repro"):
        runners.open_runner(tmp_path, threads=1)


def test_an_error_of_a_stage_is_a_line_and_not_a_traceback(tmp_path: Path) -> None:
    code = "from stages.core.entry import run_stage\ndef clean(params, paths): pass\nrun_stage(clean)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert (
        done.stderr == "clean: params.yaml: no such file. Run this from the project's folder, or restore it with git.\n"
    )


def test_a_stage_refuses_parameters_that_do_not_go_with_the_task_in_the_words_of_its_settings(tmp_path: Path) -> None:
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^  name: text_classification\b", "  name: token_classification", text)
    text = re.sub(r"(?m)^  measure: \w+", "  measure: macro_f1", text)
    text = re.sub(r"(?m)^  class_weights: none", "  class_weights: balanced", text)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    told = list(faults_of_task(load_params(tmp_path / "params.yaml")))
    assert [line.partition(".yaml: ")[2].partition(" ")[0] for line in told] == [
        "task.measure",
        "finetune.class_weights",
    ]
    code = "from stages.core.entry import run_stage\ndef report(params, paths): open('ran', 'w')\nrun_stage(report)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"report: {line}" for line in told]
    assert not (tmp_path / "ran").exists()
    assert [line for line in told if line not in [*mistakes(tmp_path, load_params(tmp_path / "params.yaml"))]] == []


def test_what_a_stage_took_is_kept_for_plans_and_a_failure_keeps_what_the_last_run_took(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    record = Paths(tmp_path).seconds("clean@some")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for body, code in (("pass", 0), ("raise ValueError('bad rows')", 1)):
        stage = (
            "from stages.core.entry import run_stage\n"
            f"def clean(params, paths, which): {body}\n"
            "run_stage(clean, 'some')"
        )
        done = subprocess.run(
            [sys.executable, "-c", stage], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == code, done.stderr
        assert f"done in {record.read_text().strip()} s" in done.stderr or code
        assert 0 <= float(record.read_text()) < 60


WEIGHTS = "import numpy; from safetensors.numpy import save_file as s; s({'w': numpy.zeros(10**6)}, 'full/weights')"
PAGES = (
    "from stages.validation.pages import write_pages as w; from pathlib import Path as P; w(P('site'), {}, P('full/x'))"
)


@pytest.mark.parametrize(
    ("writing", "named"), [(WEIGHTS, "Free some on the disk of {folder}"), (PAGES, "(and so for 28 others)")]
)
def test_a_full_disk_is_a_line_and_not_a_traceback(tmp_path: Path, writing: str, named: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "site").mkdir()
    for number in range(30):
        (tmp_path / f"site/{number}.html").write_bytes(bytes(900_000))
    mount = "unshare -rm mount -t tmpfs -o size=1m tmpfs full"
    if subprocess.run(mount, cwd=tmp_path, shell=True, check=False, capture_output=True).returncode != 0:  # noqa: S602
        pytest.skip("this machine lets nobody mount")
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    code = f"from stages.core.entry import run_stage\ndef prune(params, paths):\n    {writing}\nrun_stage(prune)"
    small = 'mount -t tmpfs -o size=1m tmpfs full && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", small, "sh", sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 420
    assert done.stderr.startswith("prune: ")
    assert "No space left on device" in done.stderr
    assert named.format(folder=tmp_path) in done.stderr
