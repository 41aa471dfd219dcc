"""Pythons with the heavy libraries loaded, for the child processes of tests: half of a small stage's time is imports.

    test ── dvc repro ── sh ── python -m stages.clean      `python` on PATH is a shim, SHIM below
                                  │ arguments, folder, environment, files 0 to 2; signals
                                  ▼
    test ── the server, all imported ── fork ── the stage   in that folder, with those files; the shim ends as it does

The stage is a process of its own, with the project's own code. What a fork cannot give is left to a Python started
afresh: another environment of what libraries read as they load, a module that is not meant (see `_meant`), a system
without pidfd. So the loading itself, hash seeds and start-up are held by the tests that start `sys.executable`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import random
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (  # of stages and of DVC; not those that start threads as they load
    "scipy.stats", "scipy.optimize", "pandas", "pyarrow.parquet", "pyarrow.dataset", "pydantic", "ruamel.yaml",
    "regex", "sklearn.linear_model", "sklearn.feature_extraction.text", "datasets", "tokenizers.trainers", "daft",
    "torch", "safetensors.numpy", "safetensors.torch", "transformers", "transformers.models.bert.modeling_bert",
    "transformers.convert_slow_tokenizer", "deepspeed.runtime.engine", "deepspeed.module_inject", "dvclive", "onnx",
    "onnx.reference", "great_expectations", "dvc.cli.parser", "dvc.repo.reproduce", "dvc.output", "dvc.stage.run",
    "dvc.stage.cache", "scmrepo.git", "dulwich.porcelain", "configobj", "flufl.lock",
    "altair", "jinja2", "markdown_it", "click", "rich.table", "psutil",
)  # fmt: skip
# Of the environment what no library reads as it loads; where all else is as the server's, a fork will do.
OF_THE_RUN = (
    "PATH", "PWD", "OLDPWD", "SHLVL", "SHELL", "_", "PYTHONUNBUFFERED", "PYTHONPATH", "PYTHON_EXEC", "RANK",
    "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "COLUMNS", "LINES",
    # What libraries set for themselves where a test has loaded them: no child of a user's would have it.
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYTORCH_NVML_BASED_CUDA_CHECK", "RAY_CLIENT_MODE",
    "TORCHINDUCTOR_CACHE_DIR",
    # What the project's code sets where it runs, for the library that it loads next.
    "NNCF_CI", "HF_HUB_ETAG_TIMEOUT", "RAY_USAGE_STATS_ENABLED", "DS_ENV_FILE",
)  # fmt: skip
OF_THE_RUN_TOO = (
    "DVC_",
    "WINNOW_",
    "PYTEST_",
    "TORCHELASTIC_",
    "TORCH_NCCL_",
    "PREFECT_",
    "GROUP_",
    "ROLE_",
    "MASTER_",
)
# They set what libraries read as they load; a process of tests has imported them all once its tests are collected.
SETS_VARIABLES = ("stages", "stages.training.engine")
SET_BY_ENGINE = ("CUBLAS_WORKSPACE_CONFIG", "DS_ACCELERATOR", "DEEPSPEED_LOG_LEVEL")
SOCKET = "PYTEST_WARM_SOCKET"
FLAGS = ("-P", "-u")  # of Python's, before what it is to run
WINNOW = ["-P", "-m", "flows.cli"]
PROFILE = ["-m", "stages.profile"]

SHIM = """#!{python} -ISs
import json, os, signal, socket, sys

def cold():
    os.execv({python!r}, [{python!r}, *{first!r}, *sys.argv[1:]])

try:
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    said = json.dumps([{every}, [*{first!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(said).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(said)
    if server.recv(1) != b"y":
        cold()
except OSError:
    cold()
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, _: server.send(bytes([number])))
code = int(server.makefile().read() or -9)
if code < 0:
    if -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def bin_folder() -> str:
    """A folder for PATH, whose commands are warm. The server starts with the first call, and ends with us.

    Its `python` starts stages and DVC warm, and all else afresh; `forked` starts whatever it is warm.
    """
    folder = Path(tempfile.mkdtemp(prefix="winnow-warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = os.environ.get(SOCKET) or _start(folder / "socket")
    for name, first, every in (("python", [], 0), ("dvc", ["-m", "dvc"], 0), ("winnow", WINNOW, 0), ("forked", [], 1)):
        shim = folder / name
        shim.write_text(SHIM.format(python=sys.executable, address=address, first=first, every=every))
        shim.chmod(0o755)
    return str(folder)


def start_for_workers() -> None:
    """One server for all of pytest's worker processes, which this process is about to start."""
    os.environ[SOCKET] = _start(Path(tempfile.mkdtemp(prefix="winnow-warm-")) / "socket")


def _start(address: Path) -> str:
    if not hasattr(os, "pidfd_open"):
        return "no such socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(64)
    # It ends when this process does: then its standard input is at its end.
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import warm_python; warm_python.main()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(listener.fileno())],
        cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], process_group=0,
    )  # fmt: skip
    listener.close()
    assert server.stdin is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return str(address)


class Run(NamedTuple):
    """A child that runs, as the server knows it."""

    pid: int
    pidfd: int
    shim: socket.socket


class Asked(NamedTuple):
    """What a shim was called with; whether every kind of program is meant, or only stages and DVC."""

    every: bool
    arguments: list[str]
    folder: str
    environment: dict[str, str]


def main() -> None:
    """The server; in a child this returns nothing either: it runs what was asked for, and ends with that."""
    before, path = dict(os.environ), list(sys.path)
    listener = socket.socket(fileno=int(sys.argv[1]))
    for name in SETS_VARIABLES:
        importlib.import_module(name)
    given = dict(os.environ)
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("flows.dvc.loaded").read_locks_quickly()  # as `winnow reproduce` does
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "flows")]:
        del sys.modules[name]
    logging.root.handlers.clear()
    gc.collect()
    gc.freeze()
    by_stages = {name: value for name, value in given.items() if name not in before}
    asked = Server(listener, given, by_stages).serve()
    if asked is None:
        os._exit(0)
    _become(asked, path, given)


class Server:
    """Forks a child for each shim that asks for one, and tells it how the child ended."""

    def __init__(self, listener: socket.socket, given: dict[str, str], by_stages: dict[str, str]) -> None:
        self._listener, self._given, self._by_stages = listener, given, by_stages
        self._runs: dict[int, Run] = {}  # by the number of either of a run's files
        self._ready = selectors.DefaultSelector()
        self._ready.register(listener, selectors.EVENT_READ)
        self._ready.register(0, selectors.EVENT_READ)

    def serve(self) -> Asked | None:
        """Returns in each child, with what it is to be, and in the server (None) when the tests have ended."""
        while True:
            key, _ = self._ready.select()[0]
            if key.fd == 0:
                for run in self._runs.values():
                    _end(run)
                return None
            if key.fd in self._runs:
                self._hear(self._runs[key.fd], key.fd)
            elif asked := self._fork():
                return asked

    def _fork(self) -> Asked | None:
        shim = self._listener.accept()[0]
        asked, files = _read(shim)
        try:
            if asked is None or not _wanted(asked, self._given, self._by_stages):
                shim.close()
                return None
            with contextlib.suppress(OSError):  # where it is gone by now, its child is ended at once
                shim.send(b"y")
            pid = os.fork()
            if pid == 0:
                self._leave(shim)
                for at, file in enumerate(files):
                    os.dup2(file, at)
                return asked
        finally:
            for file in files:
                os.close(file)
        run = Run(pid, os.pidfd_open(pid), shim)
        for fd in (run.pidfd, shim.fileno()):
            self._runs[fd] = run
            self._ready.register(fd, selectors.EVENT_READ)
        return None

    def _leave(self, shim: socket.socket) -> None:
        """In a child: close what is the server's."""
        os.setpgid(0, 0)
        self._ready.close()
        self._listener.close()
        shim.close()
        for fd, run in self._runs.items():
            os.close(fd) if fd == run.pidfd else run.shim.close()

    def _hear(self, run: Run, fd: int) -> None:
        """The child has ended; or its shim heard a signal, or is gone, and then the child is ended with it."""
        if fd != run.pidfd:
            if number := _byte(run.shim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, number)
                return
            _end(run)
        code = os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1])
        for file in (run.pidfd, run.shim.fileno()):
            self._ready.unregister(file)
            del self._runs[file]
        with contextlib.suppress(OSError):
            run.shim.sendall(str(code).encode())
        run.shim.close()
        os.close(run.pidfd)


def _read(shim: socket.socket) -> tuple[Asked | None, list[int]]:
    files: list[int] = []
    try:
        shim.settimeout(20)
        size, files, _, _ = socket.recv_fds(shim, 8, 3)
        said = b""
        while len(said) < int.from_bytes(size, "big"):
            said += shim.recv(1 << 16) or _raise()
        shim.settimeout(None)
        return Asked(*json.loads(said)), list(files)
    except (OSError, ValueError):
        return None, list(files)


def _raise() -> bytes:
    raise ConnectionError


def _byte(shim: socket.socket) -> int:
    try:
        return (shim.recv(1) or b"\0")[0]
    except OSError:
        return 0


def _end(run: Run) -> None:
    for kill in (os.killpg, os.kill):  # where it was about to lead a group, there is none yet
        with contextlib.suppress(ProcessLookupError):
            kill(run.pid, signal.SIGKILL)


def _wanted(asked: Asked, given: dict[str, str], by_stages: dict[str, str]) -> bool:
    """Whether a fork of this process is as good as a Python that starts; `by_stages`: what a stage sets itself."""
    known = {str(ROOT), str(ROOT / "tests"), *_python_path(given)}
    differs = what_differs(given, by_stages | asked.environment)
    return not differs and known.issuperset(_python_path(asked.environment)) and _meant(asked)


def what_differs(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The variables with another value that libraries may read as they load."""
    names = {*before, *now} - {*OF_THE_RUN}
    return sorted(k for k in names if not k.startswith(OF_THE_RUN_TOO) and before.get(k) != now.get(k))


def _python_path(environment: dict[str, str]) -> list[str]:
    return list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))


def _meant(asked: Asked) -> bool:
    if asked.every:
        return True
    match asked.arguments:
        case ["-m", module, *_] | ["-P" | "-u", "-m", module, *_]:
            return module == "dvc" or module.startswith("stages.") or asked.arguments[:3] == WINNOW
        case ["-P", "-c", code]:
            return "dvc.cli" in code
    return False


def _become(asked: Asked, path: list[str], given: dict[str, str]) -> None:
    """Be the process that was asked for."""
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    if asked.environment.get("PYTHONUNBUFFERED") or "-u" in asked.arguments[:2]:
        sys.stdout.reconfigure(write_through=True)
    random.seed()
    importlib.import_module("numpy").random.seed()
    importlib.invalidate_caches()
    base = [entry for entry in path if entry not in (str(ROOT / "tests"), "", *_python_path(given))]
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.modules.pop("warm_python", None)
    sys.orig_argv = [sys.executable, *asked.arguments]
    flags = {flag for flag in asked.arguments[:2] if flag in FLAGS}
    first, *more = asked.arguments[len(flags) :]
    if asked.arguments[:3] == WINNOW or asked.arguments[:2] == PROFILE:
        sys.executable = asked.environment.get("PYTHON_EXEC", sys.executable)  # what they start is warm, too
    here = {"-m": asked.folder, "-c": ""}.get(first, str(Path(first).parent))
    sys.path[:] = [*([] if "-P" in flags else [here]), *_python_path(asked.environment), *base]
    if first == "-m":
        sys.argv[:] = ["-m", *more[1:]]
        runpy._run_module_as_main(more[0])  # type: ignore[attr-defined]
    elif first == "-c":
        sys.argv[:] = ["-c", *more[1:]]
        exec(compile(more[0], "<string>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102
    else:
        sys.argv[:] = [first, *more]
        runpy.run_path(first, run_name="__main__")
