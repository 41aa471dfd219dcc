"""Months of scheduled retraining in minutes, with data that changes and processes that are killed: `make soak`.

A real Prefect server, `winnow serve`, a clone with an origin and a DVC remote. At random moments (seeded) rows are
added, and the flow, a stage, the server or `serve` is killed with SIGKILL. At the end nothing may be lost, doubled or
left behind. Prints the figures, and writes them as JSON where --output says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from conftest import run
from flow_fixtures import environment
from retrain_project import make_retrain_project, more_rows

EVENTS = {"new rows": 5, "kill flow": 3, "kill stage": 3, "kill server": 1, "kill serve": 1}
MARKS = {"kill flow": ("multiprocessing.spawn",), "kill stage": ("-m stages.", "dvc.cli")}
VICTIM_SECONDS = 60.0  # until there is something to kill
PAUSE = (4.0, 16.0)  # seconds between two events
QUIET_SECONDS = 300.0  # in which the last run must end


class Soak:
    """The processes and the folder of one soak."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.draw = home, random.Random(seed)
        self.clone = make_retrain_project(home / "all")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.happened: Counter[str] = Counter()
        self.deliveries = 0
        self.environment = environment(
            PREFECT_HOME=str(home / "prefect"), PREFECT_API_URL=self.api, PREFECT_RUNNER_POLL_FREQUENCY="2"
        )
        self.server = self.start("server", "--port", str(self.port), "--folder", str(home / "server"))
        self.wait_for_server()
        self.call("automations")
        self.serve = self.start("serve", "--every", "10")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.home / f"{arguments[0]}.log").open("ab")
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.Popen(
            command, cwd=self.clone, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def call(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.clone, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def wait_for_server(self) -> None:
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.api}/health").status_code == httpx.codes.OK:
                    return
            time.sleep(0.2)
        raise TimeoutError("the server does not start")

    def runs(self) -> list[Any]:
        """Every flow run whose time has come, as Prefect's client has it."""
        os.environ["PREFECT_API_URL"] = self.api  # read when Prefect is imported
        from prefect.client.orchestration import get_client

        found: list[Any] = []
        with get_client(sync_client=True) as client:
            while page := client.read_flow_runs(limit=200, offset=len(found)):
                found += page
        return [run for run in found if run.start_time or (run.state and not run.state.is_scheduled())]

    def ended(self) -> int:
        """The runs that really ran, and are over."""
        return sum(bool(run.start_time) and bool(run.state and run.state.is_final()) for run in self.runs())

    def own(self) -> list[psutil.Process]:
        """Every process that has to do with this soak, but this one."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and self.concerns(process):
                    found.append(process)
        return found

    def concerns(self, process: psutil.Process) -> bool:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        text = " ".join([*process.cmdline(), process.cwd(), process.environ().get("PREFECT_HOME", "")])
        return str(self.home) in text

    def happen(self) -> None:
        """One random event."""
        event = self.draw.choices(list(EVENTS), list(EVENTS.values()))[0]
        if event in ("new rows", "kill stage") or (event == "kill flow" and self.draw.random() < 0.5):
            self.deliveries += 1
            more_rows(self.clone, 12, seed=self.deliveries)
        if event == "kill server":
            self.server.kill()
            self.server.wait()
            time.sleep(self.draw.uniform(1, 8))
            self.server = self.start("server", "--port", str(self.port), "--folder", str(self.home / "server"))
            self.wait_for_server()
        elif event == "kill serve":
            self.serve.kill()
            self.serve.wait()
            self.serve = self.start("serve", "--every", "10")
        elif event in MARKS and not self.kill(MARKS[event]):
            return
        self.happened[event] += 1

    def kill(self, marks: tuple[str, ...]) -> bool:
        """SIGKILL one process with one of the marks in its command, when there is one; False where there is none."""
        deadline = time.monotonic() + VICTIM_SECONDS
        while time.monotonic() < deadline:
            if victims := [process for process in self.own() if any(mark in command(process) for mark in marks)]:
                time.sleep(self.draw.uniform(0, 1))  # anywhere in its life
                with suppress(psutil.Error):
                    self.draw.choice(victims).kill()
                    return True
            time.sleep(0.05)
        return False

    def settle(self) -> None:
        """Let the last delivery be proposed, then end everything politely."""
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline and not self.newest_is_proposed():
            time.sleep(2)
        for process in (self.serve, self.server):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
        time.sleep(15)  # guards of killed runs end what is left

    def proposals(self) -> list[str]:
        listed = run(self.clone, "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/winnow").stdout
        return listed.split()

    def newest_is_proposed(self) -> bool:
        newest = run(self.clone, "git", "hash-object", "data/corpus.csv").stdout.strip()
        return newest in [self.data_of(name) for name in self.proposals()]

    def data_of(self, branch: str) -> str:
        return run(self.clone, "git", "rev-parse", f"{branch}:data/corpus.csv").stdout.strip()


def command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def size_mb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


def sizes(soak: Soak) -> dict[str, float]:
    folders = {"cache": ".dvc/cache", "git": ".git", "store": "../store", "origin": "../origin.git", "tmp": ".dvc/tmp"}
    return {name: size_mb(soak.clone / path) for name, path in folders.items()} | {
        "server": size_mb(soak.home / "server")
    }


def judged(soak: Soak) -> dict[str, Any]:
    """What must hold at the end, each with what was found."""
    branches = soak.proposals()
    data = [soak.data_of(name) for name in branches]
    origin = run(soak.home / "all/origin.git", "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/winnow")
    left = [f"{process.pid}: {command(process)[:120]}" for process in soak.own()]
    return {
        "lost data: the newest rows are in no proposal": [] if soak.newest_is_proposed() else ["yes"],
        "orphan processes": left,
        "leaked worktrees": [*map(str, (soak.clone / ".dvc/tmp/winnow/worktrees").glob("*"))],
        "git worktrees": run(soak.clone, "git", "worktree", "list").stdout.splitlines()[1:],
        "doubled proposals": [blob for blob, count in Counter(data).items() if count > 1],
        "proposals that origin lacks": sorted(set(branches) - set(origin.stdout.split())),
        "proposals whose data the remote lacks": [name for name in branches if missing(soak, name)],
        "dvc status of the newest proposal": status(soak, branches[data.index(newest(soak))]) if branches else [],
    }


def newest(soak: Soak) -> str:
    return run(soak.clone, "git", "hash-object", "data/corpus.csv").stdout.strip()


def missing(soak: Soak, branch: str) -> list[str]:
    """Outs of a proposal's dvc.lock that are not in the remote."""
    lock = yaml.safe_load(run(soak.clone, "git", "show", f"{branch}:dvc.lock").stdout)
    outs = [out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    # Metrics are in git.
    metrics = [o["md5"] for s in lock["stages"].values() for o in s.get("outs", []) if o["path"].startswith("metrics/")]
    store = soak.home / "all/store/files/md5"
    return [md5 for md5 in outs if md5 not in metrics and not (store / md5[:2] / md5[2:]).is_file()]


def status(soak: Soak, branch: str) -> list[str]:
    """What `dvc status` says in a fresh clone of the proposal with the data pulled; nothing where all is well."""
    folder = soak.home / "fresh"
    run(soak.home, "git", "clone", "-q", "--branch", branch, str(soak.home / "all/origin.git"), str(folder))
    run(folder, "dvc", "remote", "modify", "--local", "store", "url", str(soak.home / "all/store"))
    run(folder, "dvc", "pull", "-q")
    found = json.loads(run(folder, "dvc", "status", "--json").stdout)
    return [f"{stage}: {changes}" for stage, changes in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="winnow-soak-"))
    soak = Soak(home, options.seed)
    before, started = sizes(soak), time.monotonic()
    try:
        while (ended := soak.ended()) < options.runs:
            print(
                f"\r{ended}/{options.runs} runs, {time.monotonic() - started:.0f} s, {dict(soak.happened)}",
                end="",
                flush=True,
            )
            time.sleep(soak.draw.uniform(*PAUSE))
            soak.happen()
        states = Counter(str(run.state_name) for run in soak.runs())
        soak.settle()
        report: dict[str, Any] = {
            "runs": ended, "seconds": round(time.monotonic() - started), "events": dict(soak.happened),
            "states": dict(states), "proposals": len(soak.proposals()), "deliveries": soak.deliveries,
            "mb_before": before, "mb_after": sizes(soak), "faults": judged(soak),
        }  # fmt: skip
    finally:
        for process in soak.own():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
    print("\n" + json.dumps(report, indent=2))
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if any(report["faults"].values()):
        sys.exit(f"soak: faults found; everything is in {home}")
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
