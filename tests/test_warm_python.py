"""The warm Pythons that other tests start (tests/warm_python.py): what they are alike in to one that starts afresh."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import warm_python
from conftest import REPOSITORY, run
from flow_fixtures import eventually, runs

LOADED = "import sys; print('torch' in sys.modules)"


def forked(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(folder, f"{warm_python.bin_folder()}/forked", "-c", code, *arguments, check=False, **environment)


def test_it_is_a_fork_that_has_the_libraries_and_none_of_the_projects_code(tmp_path: Path) -> None:
    """Where this fails, the suite is slow: something of the environment is another than when the server started."""
    code = (
        "import sys; print('torch' in sys.modules, [name for name in sys.modules if name[:6] in ('stages', 'flows')])"
    )
    assert forked(tmp_path, code).stdout == "True []\n"


def test_only_stages_and_dvc_are_warm_by_the_name_of_python(tmp_path: Path) -> None:
    assert run(tmp_path, "python", "-c", LOADED).stdout == "False\n"
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/toy.py").write_text(LOADED)
    assert run(tmp_path, "python", "-m", "stages.toy", PYTHONPATH="").stdout == "True\n"


def test_another_environment_of_what_libraries_read_as_they_load_is_a_python_afresh(tmp_path: Path) -> None:
    assert forked(tmp_path, LOADED, WINNOW_DEBUG="1").stdout == "True\n"
    assert forked(tmp_path, LOADED, HF_HUB_OFFLINE="0").stdout == "False\n"
    assert forked(tmp_path, LOADED, PYTHONPATH=str(tmp_path)).stdout == "False\n"


def test_what_the_projects_code_sets_as_it_is_imported_is_no_other_environment(tmp_path: Path) -> None:
    code = f"import os; import stages.training.engine; os.execv({warm_python.bin_folder() + '/forked'!r}, COMMAND)"
    code = code.replace("COMMAND", repr(["forked", "-c", LOADED]))
    assert run(REPOSITORY, sys.executable, "-c", code, PYTHONPATH=str(REPOSITORY)).stdout == "True\n"


def test_it_has_the_folder_the_arguments_the_input_and_the_variables_of_the_caller(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv, os.environ['WINNOW_X'], sys.stdin.read(), __name__)"
    command = [f"{warm_python.bin_folder()}/forked", "-c", code, "a b"]
    environment = {**os.environ, "WINNOW_X": "x"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input="in", capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path} ['-c', 'a b'] x in __main__\n"


@pytest.mark.parametrize("flags", [("-u",), ("-P",), ("-u", "-P")])
def test_flags_before_what_it_is_to_run_are_no_script(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "script.py").write_text(f"import sys; print({str(tmp_path)!r} in sys.path, sys.argv[1:])")
    done = run(tmp_path, f"{warm_python.bin_folder()}/forked", *flags, str(tmp_path / "script.py"), "x")
    assert done.stdout == f"{'-P' not in flags} ['x']\n"


def test_two_of_them_draw_other_random_numbers(tmp_path: Path) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    assert forked(tmp_path, code).stdout != forked(tmp_path, code).stdout


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('no')", 1),
        ("raise ValueError", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 15)", -15),
    ],
)
def test_the_caller_sees_how_it_ended(tmp_path: Path, code: str, ended: int) -> None:
    assert forked(tmp_path, code).returncode == ended


WAITS = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_ends_the_caller_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    command = [f"{warm_python.bin_folder()}/forked", "-c", WAITS]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(number)
        assert process.stdout.read() == "", "its end of the pipe is closed: it has ended"
    assert process.returncode in (-number, 130, 1)
    eventually(lambda: not runs(pid), seconds=30)  # the pipe is closed a moment before


def test_a_child_is_ended_that_does_not_lead_its_group_yet() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child, socket.socket() as shim:
        warm_python._end(warm_python.Run(child.pid, -1, shim))
        assert child.wait(timeout=30) == -signal.SIGKILL


def test_without_a_server_it_starts_afresh(tmp_path: Path) -> None:
    shim = tmp_path / "python"
    shim.write_text(warm_python.SHIM.format(python=sys.executable, address=str(tmp_path / "none"), first=[], every=1))
    shim.chmod(0o755)
    assert run(tmp_path, str(shim), "-c", LOADED).stdout == "False\n"
