"""Cleaning on a real Ray cluster: two nodes, each with processes of its own, on two addresses of the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import REPOSITORY
from test_cleaning import outs, planted, run_clean, sentences, with_rows_of

from stages.cleaning import frames

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux alone")
without_spaces = pytest.mark.skipif(" " in sys.executable, reason="Ray starts nothing by a path with a space")

STORE = 100_000_000  # bytes of each node's object store


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each; they know nothing of this clone."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: it holds sockets
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_TMPDIR", folder)
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.delenv("PYTHONPATH", raising=False)
        environment.chdir(folder)
        from ray.cluster_utils import Cluster

        nodes = Cluster(shutdown_at_exit=True)  # its reaper ends the nodes even where this process is killed
        try:
            for host in (2, 3):
                nodes.add_node(
                    node_ip_address=f"127.0.0.{host}", num_cpus=1, object_store_memory=STORE, include_dashboard=False
                )
            yield nodes.address
        finally:
            nodes.shutdown()
            shutil.rmtree(folder)


def on_cluster(address: str, folder: Path, *arguments: str) -> str:
    """Run this Python in `folder` as Ray's driver. Returns what it prints, on either stream."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DAFT_RUNNER": "ray", "RAY_ADDRESS": address}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@without_spaces
def test_two_nodes_give_the_bytes_of_one_process(tmp_path: Path, cluster: str) -> None:
    originals = sentences(3_000)
    texts = [*originals, *(text for part in planted(originals[:40]) for text in part)]
    texts += [f"{text} <b>Ünd</b> noch größer" for text in sentences(500, seed=5)]
    run_clean(
        tmp_path / "one",
        [(f"{at:04}", text, "ab"[at % 2], f"made:{at}", None, None, None) for at, text in enumerate(texts)],
    )
    two = with_rows_of(tmp_path / "one", tmp_path / "two")
    assert "on Ray: 2 nodes, 2 cores" in on_cluster(cluster, two, "-m", "stages.clean")
    assert outs(two) == outs(tmp_path / "one")


@pytest.mark.slow
@without_spaces
def test_both_nodes_work_with_the_code_of_this_clone_and_no_file_of_it(tmp_path: Path, cluster: str) -> None:
    """Each row says which node it was on, and where `stages` came from there."""
    code = (
        "import daft, pyarrow as pa; from stages.cleaning import frames\n"
        "@daft.func\n"
        "def where(row: int) -> str:\n"
        "    import ray, stages.cleaning.rules as rules\n"
        "    return f'{ray.get_runtime_context().get_node_id()} {rules.__file__}'\n"
        "found = frames.of_table(pa.table({'row': range(100)})).select(where(daft.col('row'))).to_pydict()\n"
        "print(*set(found['row']), sep='\\n')"
    )
    places = [line.split() for line in on_cluster(cluster, tmp_path, "-c", code).splitlines() if "rules.py" in line]
    assert len({node for node, _ in places}) == 2
    assert all("py_modules_files" in file for _, file in places)


def test_python_in_a_folder_with_a_space_is_refused_as_ray_would_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAFT_RUNNER", "ray")
    monkeypatch.setattr(sys, "executable", "/some folder/python")
    with pytest.raises(ValueError, match="Python is /some folder/python: Ray starts nothing by a path with a space"):
        frames.of_table(pa.table({"text": ["a"]}))


@without_spaces
def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    run_clean(tmp_path, [(f"{at}", text, "a", f"made:{at}", None, None, None) for at, text in enumerate(sentences(20))])
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    with pytest.raises(AssertionError, match=r"clean: RAY_ADDRESS is '127\.0\.0\.9:1', where no cluster answers"):
        on_cluster("127.0.0.9:1", tmp_path, "-m", "stages.clean")
