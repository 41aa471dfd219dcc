"""The small parts of the flows by themselves: locks, cores, drift, the picture, a new revision."""

from __future__ import annotations

import base64
import functools
import gc
import itertools
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from dvc.cli import parse_args
from flow_fixtures import ROOT, environment, eventually
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import retrain
from flows.dvc import storage
from flows.dvc.charts import picture
from flows.dvc.edits import set_values
from flows.review import changes
from flows.running import described
from flows.running.budget import Budget
from flows.running.locks import one_at_a_time
from flows.running.processes import Children
from flows.running.root import here, retraining_in
from flows.serving import own_session, temporary

HOLDER = """
import sys, time
from pathlib import Path
from flows.running.locks import one_at_a_time
from flows.running.processes import Children
with one_at_a_time(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def held(tmp_path: Path):
    """A lock, and the process that holds it."""
    lock = tmp_path / "some.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield lock, process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_held_lock_is_refused_with_its_holder_and_can_be_waited_for_until_that_is_killed(held):
    lock, process = held
    told: list[str] = []
    with pytest.raises(BlockingIOError, match=f"^process {process.pid}$"), one_at_a_time(lock, told.append, wait=False):
        pass
    assert told == []
    entered = threading.Event()

    def wait() -> None:
        with one_at_a_time(lock, told.append):
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: told)
    assert not entered.is_set()
    process.send_signal(signal.SIGKILL)
    assert entered.wait(60), "the kernel unlocks what a dead process held"
    thread.join()
    assert told == [f"process {process.pid}"], "said once"


def test_a_budget_is_never_overdrawn_and_who_asks_first_is_served_first():
    budget, inside, most = Budget(2), 0, 0
    order: list[int] = []
    guard, all_asked, pair = threading.Lock(), threading.Event(), threading.Barrier(2, timeout=60)

    def work(number: int, wanted: int | None) -> None:
        nonlocal inside, most
        taken = 2 if wanted is None else min(wanted, 2)
        with budget.taking(wanted):
            with guard:
                order.append(number)
                inside += taken
                most = max(most, inside)
            all_asked.wait(60)
            if number in (2, 3):
                pair.wait()  # alone inside, one of them would wait in vain
            with guard:
                inside -= taken

    def have_asked(threads: int) -> bool:
        return len(order) + len(budget._queue) >= threads

    wants = [1, None, 1, 1, 16, 1]
    threads = [threading.Thread(target=work, args=(number, wanted)) for number, wanted in enumerate(wants)]
    try:
        for number, thread in enumerate(threads):
            thread.start()
            eventually(functools.partial(have_asked, number + 1))
    finally:
        all_asked.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 2
    assert sorted(order[2:4]) == [2, 3], "two light ones together"
    assert [order[0], order[1], order[4], order[5]] == [0, 1, 4, 5], "the heavy are not overtaken"


def test_a_budget_gives_back_what_a_failure_held():
    budget = Budget(1)
    for _ in range(2):
        with pytest.raises(RuntimeError), budget.taking(1):
            raise RuntimeError


def test_the_picture_shows_every_stage_with_its_state_and_no_node_covers_another():
    stages = {"a": (), "b": ("a",), "c<d": ("a",), "e": ("b", "c<d", "a")}
    address = picture(stages, {"a": "Cached", "b": "Completed", "c<d": "Failed", "e": "not run"})
    kind, _, content = address.partition(",")
    assert kind == "data:image/svg+xml;base64"
    drawn = ElementTree.fromstring(base64.b64decode(content))  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    assert {text.text for text in drawn.iter(f"{space}text")} == {
        "a: Cached", "b: Completed", "c<d: Failed", "e: not run"
    }  # fmt: skip
    assert len(list(drawn.iter(f"{space}path"))) == 4, "a to e is implied by a longer way"
    boxes = [[float(box.get(key, "")) for key in ("x", "y", "width", "height")] for box in drawn.iter(f"{space}rect")]
    for (x0, y0, w0, h0), (x1, y1, w1, h1) in itertools.combinations(boxes, 2):
        assert x0 + w0 <= x1 or x1 + w1 <= x0 or y0 + h0 <= y1 or y1 + h1 <= y0
    for x, y, w, h in boxes:
        assert x >= 0
        assert y >= 0
        assert x + w <= float(drawn.get("width", ""))
        assert y + h <= float(drawn.get("height", ""))


def test_a_new_revision_changes_one_line_of_params_yaml(tmp_path: Path):
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    path.write_text(before)
    set_values(path, {"ingest.hub.revision": "0123456789abcdef0123456789abcdef01234567"})
    after = path.read_text()
    assert yaml.safe_load(after)["ingest"]["hub"]["revision"] == "0123456789abcdef0123456789abcdef01234567"
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0][1].startswith("    revision: 0123456789abcdef")
    assert "#" in changed[0][1], "its comment stays"


def test_a_list_is_written_in_one_line_with_its_comment_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  names: [one, two, three, four, five]  # which\n  size: 1     # how large\n")
    set_values(path, {"a.names": ["one"]})
    assert path.read_text() == "a:\n  names: [one] # which\n  size: 1     # how large\n"
    set_values(path, {"a.names": []})
    assert path.read_text() == "a:\n  names: []   # which\n  size: 1     # how large\n"


def test_an_object_on_s3_that_changed_is_told_though_dvc_keeps_no_md5_of_it() -> None:
    before, after = (
        {"stages": {"ingest": {"cmd": "c", "deps": [{"path": "s3://b/rows.csv", "etag": etag}]}}} for etag in ("1", "2")
    )
    assert list(changes.stages(before, before)) == []
    (change,) = changes.stages(before, after)
    assert change.reasons == ("s3://b/rows.csv changed",)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("no server could be started"), "no server could be started"),
        (KeyboardInterrupt(), "stopped. What had ended is in DVC's cache; `winnow retrain` takes it from there"),
    ],
)
def test_what_ends_a_start_of_prefects_server_ends_the_run_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: str
) -> None:
    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(temporary, "get_client", fail)  # Prefect's
    no_server = temporary_settings(restore_defaults={PREFECT_API_URL})
    with no_server, pytest.raises(type(error), match=f"^{told}"):
        retrain.run(tmp_path, None, "by hand", accept_drift=False)


def test_a_second_run_in_one_process_finds_the_temporary_server_of_the_first(tmp_path: Path) -> None:
    """Prefect keeps a server a port; what ends it with this process must not end it where it is asked for again."""
    server = own_session.OwnSession(port=1)
    sleeping = server._children.start([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, environment())
    try:
        assert own_session.OwnSession(port=1) is server
        gc.collect()
        with pytest.raises(subprocess.TimeoutExpired):
            sleeping.wait(timeout=2)
    finally:
        server.stop()
    eventually(lambda: sleeping.poll() is not None, seconds=10)


def test_a_retraining_is_named_after_its_clone_wherever_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "docs")
    assert described._root({"base": None}) == here() == ROOT
    with retraining_in(tmp_path):
        assert described._root({"base": None}) == here() == tmp_path
    assert described._root({"root": str(tmp_path)}) == tmp_path


def test_a_path_that_begins_with_a_dash_is_no_option_of_dvcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setattr(storage, "stream", lambda _root, arguments, *_: said.append(arguments))
    monkeypatch.setattr(storage, "read", lambda _root, *arguments: said.append([*arguments]) or "{}")
    path, children = "--force-x.csv", Children()
    storage.pull(tmp_path, [path], print, children=children)
    storage.update(tmp_path, path, print, children=children)
    storage.add(tmp_path, path, print, children=children)
    storage.changed_data(tmp_path, path)
    parsed = [vars(parse_args(arguments)) for arguments in said]
    assert [found["targets"] for found in parsed] == [[path]] * 4
    storage.get(tmp_path, path, tmp_path / "out", revision="v1")
    assert vars(parse_args(said[-1])).items() >= {"url": ".", "path": path, "rev": "v1"}.items()
