"""The commands of a page, run for real: `python tests/tutorial_run.py docs/tutorial.md HOME`.

A block of ```console holds commands, each behind `$ `, and below each what it printed; a line of three dots stands for
lines that are left out. In a block of ```console varies what is printed may be other words, as it hangs on the model.
They run one after the other, in one home with a link `winnow` to this repository; `cd` is remembered, and a command
that ends in ` &` goes on until all is done. As a program this writes what was printed into the page;
tests/test_tutorial.py compares it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```console( varies)?\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
LEFT_OUT = "..."
PATIENCE = 180  # seconds until a server says its first line


class Step(NamedTuple):
    """A command, the lines below it, and where they stand in the page."""

    command: str
    shown: list[str]
    begin: int
    end: int
    varies: bool  # with the model: words and answers may be others

    def write(self, page: str, lines: list[str]) -> str:
        """The page with other lines below the command."""
        return page[: self.begin] + "".join(f"{line}\n" for line in lines) + page[self.end :]


def steps_of(page: str) -> Iterator[Step]:
    """The commands of all blocks, in order."""
    for block in BLOCK.finditer(page):
        for found in re.finditer(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", block[2], flags=re.MULTILINE):
            at = block.start(2)
            yield Step(found[1], found[2].splitlines(), at + found.start(2), at + found.end(2), bool(block[1]))


class Printed(NamedTuple):
    """What a command printed, on both streams, and its exit code; of one that goes on None."""

    lines: list[str]
    code: int | None


class Terminal:
    """A shell in a home of its own, in which `winnow` is this repository's."""

    def __init__(self, home: Path, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.folder, self.going_on = home, home, list[subprocess.Popen[bytes]]()
        if not (home / "winnow").exists():
            (home / "winnow").symlink_to(REPOSITORY)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {
            **os.environ, "HOME": str(home), "PATH": path, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "110",
            **environment,
        }  # fmt: skip

    def run(self, step: Step) -> Printed:
        """Run the command to its end; one that ends in ` &` until it has printed what the page shows."""
        if step.command.endswith(" &"):
            return self._begin(step)
        where = self.home / ".folder"
        script = f"{step.command}\ncode=$?\npwd > {where}\nexit $code"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.folder = Path(where.read_text().strip())
        return Printed(self._told(done.stdout), done.returncode)

    def _begin(self, step: Step) -> Printed:
        log = self.home / f".log-{len(self.going_on)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", step.command.removesuffix(" &")], cwd=self.folder, env=self.environment,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.going_on.append(process)
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            lines = self._told(log.read_text())
            if lines and not list(differences(step.shown, lines)):
                break
            time.sleep(0.2)
        return Printed(self._told(log.read_text()), process.poll())

    def _told(self, text: str) -> list[str]:
        return [line.rstrip() for line in text.replace(str(self.home), "~").splitlines()]

    def end(self) -> None:
        """End what goes on, the last first."""
        for process in reversed(self.going_on):
            for number in (signal.SIGINT, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(60)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
                break


def same(line: str) -> str:
    """A line without what differs from run to run and from model to model: numbers, hashes, blanks."""
    line = re.sub(r"\b[0-9a-f]{7,64}\b", "#", line)
    return re.sub(r"\d[\d.,:]*", "#", " ".join(line.split()))


def differences(shown: list[str], printed: list[str]) -> Iterator[str]:
    """The shown lines that were not printed, and printed ones that are not shown where nothing is left out."""
    at, gap = 0, not shown
    for line in shown:
        if line == LEFT_OUT:
            gap = True
            continue
        found = next((i for i in range(at, len(printed)) if same(printed[i]) == same(line)), None)
        if found is None:
            yield f"not printed: {line}"
            continue
        if found > at and not gap:
            yield f"not shown: {printed[at]}"
        at, gap = found + 1, False
    if at < len(printed) and not gap:
        yield f"not shown: {printed[at]}"


def renewed(shown: list[str], printed: list[str]) -> list[str]:
    """The shown lines as they were printed now; all that was printed where the page shows something else."""
    if list(differences(shown, printed)):
        return printed
    lines, at = [], 0
    for line in shown:
        if line != LEFT_OUT:
            at = next(i for i in range(at, len(printed)) if same(printed[i]) == same(line)) + 1
        lines.append(line if line == LEFT_OUT else printed[at - 1])
    return lines


def run_page(
    page: str, terminal: Terminal, after: Callable[[Step], object] = lambda _: None
) -> Iterator[tuple[Step, Printed]]:
    """Each command with what it printed; `after` is called when one is done. All is ended with the last."""
    try:
        for step in steps_of(page):
            yield step, terminal.run(step)
            after(step)
    finally:
        terminal.end()


def main() -> None:
    """Run a page in a home, and write what was printed into it."""
    path = Path(sys.argv[1])
    page = path.read_text(encoding="utf-8")
    done = []
    for step, printed in run_page(page, Terminal(Path(sys.argv[2]).resolve())):
        print(f"{printed.code}: {step.command}", flush=True)
        done.append((step, printed))
    for step, printed in reversed(done):  # from the end, so that earlier places stay
        if step.shown:
            page = step.write(page, printed.lines if step.varies else renewed(step.shown, printed.lines))
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
