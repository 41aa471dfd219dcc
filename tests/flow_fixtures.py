"""A tiny DVC project with real stages, and a real Prefect server, for the tests of flows/."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import warm_python
import yaml
from safetensors.numpy import save_file

from flows.dvc import reproducing
from flows.dvc.reproducing import Outcome, Ready
from flows.running.processes import Children
from stages.core.files import write_json
from stages.core.model_folder import seal

ROOT = Path(__file__).resolve().parents[1]

STAGE_SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path

import yaml

name, *inputs = sys.argv[1:]
params = yaml.safe_load(Path("params.yaml").read_text())
if Path(f"{name}.fails").exists():
    sys.exit(f"{name}: the rows are bad. Mend them.")
if Path(f"{name}.sleeps").exists():
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(f"{name}.pids").write_text(f"{os.getpid()} {helper.pid}")
    time.sleep(300)
print(f"{name} reads {len(inputs)} files")
sys.stdout.write("10%\\r50%\\r100%\\n")
value = params["seed"] if not inputs else params["clean"]["min_chars"]
Path(f"{name}.txt").write_text(f"{value} " + " ".join(Path(path).read_text() for path in inputs))
"""

DVC_YAML = """
stages:
  ingest:
    desc: rows from a source
    cmd: python stage.py ingest
    params: [seed]
    deps: [stage.py]
    outs: [ingest.txt]
  clean:
    desc: rows made clean
    cmd: python stage.py clean ingest.txt
    params: [clean]
    deps: [ingest.txt]
    outs: [clean.txt]
  evaluate:
    foreach: [teacher, student]
    do:
      desc: how good a model is
      cmd: python stage.py evaluate_${item} clean.txt
      deps: [clean.txt]
      outs: ["evaluate_${item}.txt"]
  alone:
    desc: depends on nothing
    cmd: python stage.py alone
    params: [seed]
    outs: [alone.txt]
"""


def make_project(folder: Path, *, finished: bool = False) -> Path:
    """A git and DVC project in `folder`: small stages, and this repository's params.yaml.

    Where it is to be `finished`, `dvc repro` has run in it.
    """
    shutil.copytree(_template(finished), folder)
    return folder


@functools.cache
def _template(finished: bool) -> Path:
    """The project that the others are copied from: making it takes longer than copying."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-test-")) / "project"
    atexit.register(shutil.rmtree, folder.parent)
    if finished:
        shutil.copytree(_template(False), folder)
        dvc(folder, "repro", "--quiet")
        return folder
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "stage.py").write_text(STAGE_SCRIPT)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copy(ROOT / "constraints.txt", folder)
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "--quiet"], cwd=folder, check=True)
    dvc(folder, "init", "--quiet")
    subprocess.run([*git, "add", "."], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "start"], cwd=folder, check=True)
    return folder


def write_word_model(folder: Path) -> Path:
    """A model of two words: 'bread' adds 5 to the logit of kitchen, 'ship' 3 to that of sea."""
    write_json(folder / "vocabulary.json", ["bread", "ship"])
    coefficients_CV = np.array([[5, 0], [0, 3]], dtype=np.float32)
    zeros, ones = np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32)
    save_file({"coefficients": coefficients_CV, "intercept": zeros, "idf": ones}, folder / "weights.safetensors")
    seal(folder, backend="linear", task="text_classification", space={"labels": ["kitchen", "sea"]}, max_ngram=1)
    return folder


def environment(**more: str) -> dict[str, str]:
    """The environment of a child that imports this repository, with this Python first on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", **more}


def dvc(project: Path, *arguments: str) -> str:
    """What a DVC command prints; it must succeed."""
    command = [f"{warm_python.bin_folder()}/dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=True)
    return done.stdout


def reproduce(project: Path, stage: str, on_line: Callable[[str], object] = print) -> Outcome:
    """One stage of the project, as a flow has it done."""
    with Children() as children, Ready(project, children, wanted=True) as ready:
        return reproducing.reproduce(ready, stage, on_line)


def winnow(folder: Path, *arguments: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[str]:
    """The `winnow` command, run in `folder` as a user does."""
    warm = warm_python.bin_folder()
    command = [f"{warm}/winnow", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**{"PYTHON_EXEC": f"{warm}/python", **more}),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
    )
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def change(project: Path, **values: object) -> None:
    """Set parameters of the project, as `clean__min_chars=3`."""
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in values.items():
        *sections, name = key.split("__")
        section = params
        for part in sections:
            section = section[part]
        section[name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def eventually(condition: Callable[[], object], seconds: float = 180) -> None:
    """Wait until `condition` holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which nothing has run."""
    return make_project(tmp_path / "project")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A project in which every stage has run."""
    return make_project(tmp_path / "finished", finished=True)


@functools.cache
def _one_server() -> tuple[contextlib.ExitStack, str]:
    """One a process: pytest makes a fixture anew for each module that imports it, and Prefect's events worker keeps to
    the first server that it met."""
    # `flows` is first: it sets what Prefect reads when it is imported.
    import flows  # noqa: F401, I001
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    server = contextlib.ExitStack()
    server.enter_context(prefect_test_harness(server_startup_timeout=120))
    return server, PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A Prefect server for the whole session, and its address. Flows that run in this process use it."""
    server, address = _one_server()
    yield address
    server.close()
