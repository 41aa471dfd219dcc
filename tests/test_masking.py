"""Secrets: in nothing that is shown or kept, whoever printed them (case 35)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import flow_fixtures
import pytest
from flow_fixtures import change, eventually, winnow

from flows.dvc.output import LINE_LIMIT, _shortened
from flows.running import git
from flows.running.git import GitError
from flows.running.masking import holds_a_secret, masked, masked_start

project, prefect_server = flow_fixtures.project, flow_fixtures.prefect_server
SECRETS: dict[str, Any] = {
    "DELIVERY_TOKEN": "tok-5b1f77e09c",
    "DATABASE_PASSWORD": "hunter2-4e6a",
    "BASIC_CREDENTIALS": "winnow:pass-0f9e3a",
    "SSH_PRIVATE_KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----",
}
IN_TEXT = ("tok-5b1f77e09c", "hunter2-4e6a", "pass-0f9e3a", "MIIEvQIBADANBgkq", "hkiG9w0BAQEFAASC", "sig-77aa01bc")
STAGE = """
import os, sys
from pathlib import Path

for name in ("DELIVERY_TOKEN", "DATABASE_PASSWORD", "BASIC_CREDENTIALS", "SSH_PRIVATE_KEY"):
    print("the environment has", name, os.environ[name])
print("password alone:", os.environ["BASIC_CREDENTIALS"].partition(":")[2])
print("reading https://data.example.org/a.csv?X-Amz-Signature=sig-77aa01bc&part=1")
sys.stdout.write("10%|#         | " + os.environ["DELIVERY_TOKEN"] + "\\r50%|#####     | 1/2\\n")
if Path("alone.fails").exists():
    raise SystemExit("alone: https://bot:" + os.environ["DATABASE_PASSWORD"] + "@db.example.org refused us.")
Path("alone.txt").write_text("done")
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clone https://ghp_abc123@github.com/a/b.git", "clone https://***@github.com/a/b.git"),
        ("http://bot:pw-1@host:8080/x", "http://***@host:8080/x"),
        ("postgresql+asyncpg://bot:pw@db/x", "postgresql+asyncpg://bot:***@db/x"),
        ("redis://:pw@cache/0", "redis://:***@cache/0"),
        ("'https://t0@a/x' and 'https://t1@b/y'", "'https://***@a/x' and 'https://***@b/y'"),
        ("https://h/x?token=abc&page=2", "https://h/x?token=***&page=2"),
        ("https://h/x?page=2&api_key=abc#part", "https://h/x?page=2&api_key=***#part"),
        ("'https://h/x?X-Amz-Signature=0af'", "'https://h/x?X-Amz-Signature=***'"),
        ("https://h/x?AWSAccessKeyId=AK&Expires=1", "https://h/x?AWSAccessKeyId=***&Expires=1"),
        ("https://h/x?next=https://h/y?token=abc", "https://h/x?next=https://h/y?token=***"),
        ("s3://key:sec/ret@bucket/x and s3://k2:s/2@b", "s3://key:***@bucket/x and s3://k2:***@b"),
    ],
)
def test_user_password_and_secret_parameters_of_a_url_are_masked_and_the_rest_stays(text: str, shown: str):
    assert masked(text) == shown
    assert holds_a_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@github.com/a/b.git",
        "git@github.com:a/b.git",
        "https://example.org/@someone/x?page=2",
        "mail to someone@example.org: see https://example.org",
        "s3://bucket/key",
        "token=3 tokens",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str):
    assert masked(text) == text
    assert not holds_a_secret(text)


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "WINNOW_ALERT_WEBHOOK", "SSH_PASSPHRASE"],
)
def test_the_value_of_a_variable_whose_name_says_secret_is_masked(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "s3cret+(value)")
    assert masked("got s3cret+(value), s3cret") == "got ***, s3cret"


def test_the_value_of_another_variable_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINNOW_MOOD", "cheerful-today")
    assert masked("cheerful-today") == "cheerful-today"


def test_a_short_value_masks_no_word_that_happens_to_hold_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "train")
    assert masked("training: train") == "training: train"


def test_of_user_and_password_the_second_is_masked_alone_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "winnow:pass-0f9e3a")
    assert masked("winnow:pass-0f9e3a or pass-0f9e3a for winnow") == "*** or *** for winnow"


def test_a_secret_that_holds_another_is_masked_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_TOKEN", "abcdef")
    monkeypatch.setenv("B_TOKEN", "abcdef-ghijkl")
    assert masked("abcdef-ghijkl") == "***"


def test_each_line_of_a_secret_of_several_lines_is_masked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSH_PRIVATE_KEY", SECRETS["SSH_PRIVATE_KEY"])
    assert masked("it is MIIEvQIBADANBgkq") == "it is ***"


HOSTILE = {  # each a text that some pattern might begin anew, or take back, at every character
    "schemes": "a.", "colons": "a:", "URLs": "http://", "users": "x://u:p", "S3": "s3://:", "S3's slashes": "s3://k:a/",
    "queries": "?a=", "names": "?token", "one name": "token", "parameters": "&sig", "blanks": " ", "colours": "\x1b[0",
}  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("start", ["", "https://h/?", "s3://k:", "x://"])
def test_masking_takes_time_in_proportion_to_the_text(part: str, start: str):
    def seconds(chars: int) -> float:
        text = start + part * (chars // len(part))
        times = []
        for _ in range(3):
            began = time.process_time()
            masked(text)
            times.append(time.process_time() - began)
        return min(times)

    seconds(1_000)
    assert seconds(16_000) < 40 * max(seconds(1_000), 1e-5), "16 times as long; squared, it were 256 times"


@pytest.mark.parametrize("behind", [0, 10, 100_000, 1_000_000])
@pytest.mark.parametrize("at", [0, LINE_LIMIT - 40, LINE_LIMIT - 5, LINE_LIMIT - 2, LINE_LIMIT])
@pytest.mark.parametrize(
    "secret", ["tok-5b1f77e09c", "https://ghp_0a1b2c3d@h", "https://h?token=zyx9", "s3://k:a/b9@b"]
)
def test_of_a_long_line_no_part_of_a_secret_is_shown_wherever_it_is_cut(
    at: int, behind: int, secret: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DELIVERY_TOKEN", "tok-5b1f77e09c")
    shown = _shortened(("-" * at + secret + " " + "+" * behind).encode())
    assert len(shown) <= LINE_LIMIT
    assert not any(part in shown for part in ("tok-", "ghp_", "zyx", "a/b"))
    assert shown.endswith("...") == (len(masked("-" * at + secret + " " + "+" * behind).rstrip()) > LINE_LIMIT)


@pytest.mark.parametrize("secret", ["https://" + "x" * 9_000 + "@h", "s3://k:" + "x/" * 5_000 + "@b"])
def test_of_a_password_longer_than_what_is_looked_at_nothing_is_shown(secret: str):
    shown = masked_start(f"reading {secret}", 2_000)
    assert shown.startswith("reading ")
    assert "x" not in shown


def test_a_secret_that_a_masked_one_before_it_moves_to_the_front_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DELIVERY_TOKEN", "tok-5b1f77e09c")
    for filler in range(1_960, 2_020):
        shown = masked_start(f"https://{'y' * filler}@h tok-5b1f77e09c " + "+" * 9_000, 2_000)
        assert "tok-" not in shown
        assert "y" not in shown


def test_the_error_of_a_git_remote_does_not_hold_the_token_of_its_url(tmp_path: Path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    git.read(tmp_path, "remote", "add", "origin", "https://ghp_0a1b2c3d@127.0.0.1:1/x.git")
    with pytest.raises(GitError, match=r"127\.0\.0\.1") as raised:
        git.read(tmp_path, "fetch", "origin")
    assert "ghp_0a1b2c3d" not in str(raised.value)


def test_check_refuses_a_url_with_a_secret_in_params_and_does_not_show_it(project: Path):
    change(project, ingest__path="https://ghp_0a1b2c3d@example.org/x.csv")
    done = winnow(project, "check")
    assert done.returncode == 1
    assert done.stderr == (
        "winnow: params.yaml: ingest.path holds a secret in a URL. "
        "Keep it in the environment, or in dvc remote modify --local.\n"
    )


@pytest.mark.parametrize("fails", [False, True], ids=["stage ends well", "stage fails"])
def test_secrets_that_a_stage_prints_are_shown_nowhere_and_kept_nowhere(
    project: Path, prefect_server: str, fails: bool
):
    (project / "stage.py").write_text(STAGE)
    if fails:
        (project / "alone.fails").touch()
    done = winnow(project, "reproduce", "--stage", "alone", PREFECT_API_URL=prefect_server, **SECRETS)
    assert done.returncode == fails, done.stderr
    marker = "refused us" if fails else "the environment has SSH_PRIVATE_KEY"
    assert marker in done.stderr
    eventually(lambda: marker.encode() in database())
    kept = {
        "stdout": done.stdout.encode(),
        "stderr": done.stderr.encode(),
        "database": database(),
        **{str(path): path.read_bytes() for path in files(project)},
    }
    found = [(place, secret) for place, content in kept.items() for secret in IN_TEXT if secret.encode() in content]
    assert found == []


def files(root: Path) -> list[Path]:
    """All that the run left in the project, DVC's and git's own files too, save the script that names a secret."""
    return [path for path in root.rglob("*") if path.is_file() and path.name != "stage.py"]


def database() -> bytes:
    """Every byte that the Prefect server keeps, its write-ahead log too."""
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

    file = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition(":///")[2])
    parts = list(file.parent.glob(f"{file.name}*"))
    assert file in parts
    return b"".join(path.read_bytes() for path in parts)
