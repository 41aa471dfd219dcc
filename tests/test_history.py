"""The history of a branch from what its commits record, in a real git repository without any data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, init_repository, run

from flows.review.history import as_markdown, as_records, data_of, history, letters
from flows.review.revisions import head_of

LOCK = """schema: '2.0'
stages:
  clean:
    cmd: python -m stages.clean
    outs:
    - path: artifacts/data/clean.parquet
      hash: md5
      md5: {data}
      size: 12
    - path: artifacts/data/held_out.parquet
      hash: md5
      md5: ffffffffffffffffffffffffffffffff
"""


def commit(
    project: Path,
    subject: str,
    accuracy: float,
    *,
    p50: float = 2.0,
    processor: str | None = "one",
    data: str = "a" * 32,
    task: str | None = None,
) -> None:
    """Commit the figures of the int8 model, as a reproduction would write them."""
    ends = {"low": accuracy - 0.1, "high": accuracy + 0.1}
    quality = {"macro_f1": accuracy, "entity_f1": accuracy, "rows": 600, "intervals": {"macro_f1": ends}}
    profile: dict[str, Any] = {"latency_p50_ms": p50, "size_mb": 16.0, "threads": 2, "date": "2026-11-01"}
    for kind, content in (("quality", quality), ("profile", profile | ({"processor": processor} if processor else {}))):
        path = project / f"metrics/{kind}/quantized.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content | {"note": subject}))
    (project / "dvc.lock").write_text(LOCK.format(data=data))
    if task:
        params = yaml.safe_load((project / "params.yaml").read_text())
        params["task"] = {"name": task, "measure": "entity_f1"}
        (project / "params.yaml").write_text(yaml.safe_dump(params))
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", subject)


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five commits with figures, one of them on another branch that was merged, and one without."""
    project = tmp_path_factory.mktemp("history") / "project"
    project.mkdir()
    (project / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    (project / "dvc.yaml").write_text("stages: {}\n")
    init_repository(project)
    commit(project, "first", 0.5)
    run(project, "git", "tag", "model@v1.0.0")
    commit(project, "better | <b>", 0.53, p50=1.5)
    (project / "README.md").write_text("no figures\n")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "words alone")
    run(project, "git", "checkout", "-qb", "other")
    commit(project, "on another branch", 0.9)
    run(project, "git", "checkout", "-q", "main")
    run(project, "git", "merge", "-q", "--no-ff", "-m", "merged", "other")
    commit(project, "another machine", 0.9, p50=1.0, processor="two")
    commit(project, "other data", 0.95, p50=0.9, processor="two", data="b" * 32)
    return project


def test_each_commit_of_the_branch_that_changed_the_figures_is_there_newest_first(branch: Path) -> None:
    found = history(branch, "quantized")
    assert [entry.subject for entry in found] == ["other data", "another machine", "merged", "better | <b>", "first"]
    assert [entry.value for entry in found] == [0.95, 0.9, 0.9, 0.53, 0.5]
    first = found[-1]
    assert (first.tags, first.rows, first.machine, first.measured) == (
        ("model@v1.0.0",), 600, "2 threads of one", "2026-11-01",
    )  # fmt: skip
    assert (first.low, first.high, first.size_mb) == (0.4, 0.6, 16.0)
    assert [entry.subject for entry in history(branch, "quantized", last=2)] == ["other data", "another machine"]
    assert [entry.subject for entry in history(branch, "quantized", revision="model@v1.0.0")] == ["first"]
    assert history(branch, "teacher") == ()


def test_values_are_compared_on_one_test_alone_and_times_on_one_machine_alone(branch: Path) -> None:
    lines = as_markdown(history(branch, "quantized"), "quantized").splitlines()
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("| `")]
    assert [row[3] for row in rows] == ["B", "A", "A", "A", "A"]
    assert [row[6] for row in rows] == ["another test", "same", "+37.0 points", "+3.0 points", "-"]
    assert [row[7] for row in rows] == ["B", "B", "A", "A", "A"]
    assert [row[9] for row in rows] == ["-10%", "another machine", "+33%", "-25%", "-"]
    text = "\n".join(lines)
    assert "A: 600 rows, data aaaaaaa, macro-F1; B: 600 rows, data bbbbbbb, macro-F1" in text
    assert "Machines: A: 2 threads of one; B: 2 threads of two." in text
    assert r"better \| &lt;b&gt;" in text


def test_what_is_not_known_is_compared_with_nothing(branch: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    run(tmp_path, "git", "clone", "-q", str(branch), str(project))
    run(project, "git", "config", "user.email", "tests@localhost")
    run(project, "git", "config", "user.name", "tests")
    commit(project, "no machine", 0.9, processor=None, data="")
    commit(project, "nor here", 0.91, p50=1.0, processor=None, data="")
    found = history(project, "quantized", last=2)
    assert not found[0].same_test(found[1])
    assert not found[0].same_machine(found[1])
    assert "| unknown test | - |" in (text := as_markdown(found, "quantized"))
    assert "| unknown machine |" in text


def test_another_task_is_another_test_of_its_own_measure(branch: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    run(tmp_path, "git", "clone", "-q", str(branch), str(project))
    run(project, "git", "config", "user.email", "tests@localhost")
    run(project, "git", "config", "user.name", "tests")
    commit(project, "entities", 0.7, data="b" * 32, task="token_classification")
    newest, before = history(project, "quantized", last=2)
    assert (newest.measure.name, before.measure.name) == ("entity_f1", "macro_f1")
    assert not newest.same_test(before)


def test_the_command_prints_markdown_or_json_and_says_what_is_not_there(branch: Path) -> None:
    def winnow(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(branch, "winnow", "history", *arguments, check=check)

    assert "# History of quantized" in winnow("--last", "1").stdout
    assert json.loads(winnow("--json").stdout) == as_records(history(branch, "quantized"))
    for arguments, said in (
        (("--model", "teacher"), "no commit up to HEAD has figures of teacher"),
        (("--model", "nobody"), "'nobody' is no model. Allowed: baseline"),
        (("nowhere",), "git knows no revision 'nowhere'"),
        (("--last", "0"), "0 is not in the range 1<=x<=200"),
    ):
        done = winnow(*arguments, check=False)
        assert done.returncode != 0
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_the_hash_of_an_out_is_found_in_the_text_of_a_lock() -> None:
    lock = LOCK.format(data="0" * 32)
    assert data_of(lock, "artifacts/data/clean.parquet") == "0" * 32
    assert data_of(lock, "artifacts/data/held_out.parquet") == "f" * 32
    assert data_of(lock, "artifacts/data/raw.parquet") == ""
    whole = (REPOSITORY / "dvc.lock").read_text(encoding="utf-8")
    (clean,) = re.findall(r"^  clean:\n(?:    .*\n)+", whole, re.MULTILINE)
    outs = {out["path"]: out["md5"] for out in yaml.safe_load(clean)["clean"]["outs"]}
    path = "artifacts/data/clean.parquet"
    assert data_of(whole, path) == outs[path]


def test_there_are_letters_for_many() -> None:
    found = letters([f"machine {i}" for i in range(28)] + ["", "machine 0"])
    assert (found["machine 0"], found["machine 25"], found["machine 26"], len(found)) == ("A", "Z", "A1", 28)


SIGNER = f"""#!{sys.executable}
import sys
if "--verify" in sys.argv:
    sys.exit("gpg: Good signature, as far as this program can tell")
sys.stdin.read()
print("-----BEGIN PGP SIGNATURE-----\\n\\nabc\\n-----END PGP SIGNATURE-----")
sys.stderr.write("\\n[GNUPG:] SIG_CREATED \\n")
"""


def test_signatures_and_line_separators_in_a_subject_are_no_lines(branch: Path, tmp_path: Path):
    project = tmp_path / "project"
    run(tmp_path, "git", "clone", "-q", str(branch), str(project))
    signer = tmp_path / "signer"
    signer.write_text(SIGNER)
    signer.chmod(0o755)
    settings = {"gpg.program": str(signer), "commit.gpgsign": "true",
                "log.showSignature": "true", "user.name": "tests", "user.email": "tests@localhost"}  # fmt: skip
    for name, value in settings.items():
        run(project, "git", "config", name, value)
    commit(project, "Retrain\u2028after\x0cthe fix", 0.7)
    found = history(project, "quantized")
    assert len(found) == len(history(branch, "quantized")) + 1
    assert found[0].subject.split() == ["Retrain", "after", "the", "fix"]
    assert head_of(project).subject.startswith("Retrain")
