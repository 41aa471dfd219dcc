"""The source `files` on S3, as moto's server speaks it: the same reader, DVC's dependency, and what errors say."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path

import pytest
import s3_fixtures
import yaml
from conftest import init_repository, run
from s3_fixtures import SECRET, as_user, believe_everybody, client
from source_fixtures import kept, read, rejected, settings

from stages.core.contracts import RawRow
from stages.reading.records import Format, read_records
from stages.reading.storage import DataFile, find
from stages.reading.values import wanted_columns

server, s3 = s3_fixtures.server, s3_fixtures.s3
ROWS = b"text,label\nfirst,a\nsecond,b\n"
HOW = Format(wanted_columns(settings("s3://winnow")), "auto", 1_000)
STAGE = """\
import sys
sys.path.insert(0, {tests!r})
from source_fixtures import kept
print(len(kept("s3://winnow/data")), file=open("rows.txt", "w"))
"""


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, with a few files in the bucket `winnow`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for key, body in {
        "one.csv": ROWS, "data/train.csv.gz": gzip.compress(ROWS), "data/test.csv": b"text,label\nthird,a\nx,y,z\n",
        "data/notes.txt": b"no rows", "more/old/a.jsonl": b'{"text": "fourth", "label": 1}\n',
    }.items():  # fmt: skip
        client("s3", s3).put_object(Bucket="winnow", Key=key, Body=body)
    return s3


@pytest.mark.usefixtures("bucket")
def test_an_object_a_prefix_and_a_pattern_are_read_as_files_are() -> None:
    assert read("s3://winnow/one.csv") == [RawRow("first", "a", "one.csv:2"), RawRow("second", "b", "one.csv:3")]
    assert rejected("s3://winnow/data") == {"test.csv:3": "ragged"}
    for prefix in ("s3://winnow/data", "s3://winnow/data/"):
        assert [(row.origin, row.split) for row in kept(prefix)] == [
            ("test.csv:2", "test"), ("train.csv.gz:2", "train"), ("train.csv.gz:3", "train"),
        ]  # fmt: skip
    assert [row.origin for row in kept("s3://winnow/more", pattern="**/*.jsonl")] == ["old/a.jsonl:1"]


def test_dvc_reads_again_what_changed_on_s3_and_nothing_else(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_repository(tmp_path)
    (tmp_path / "stage.py").write_text(STAGE.format(tests=str(Path(__file__).parent)))
    definition = {"cmd": "python stage.py", "deps": ["${ingest.path}"], "outs": ["rows.txt"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": {"path": "s3://winnow/data"}}))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"ingest": definition}}))
    run(tmp_path, "dvc", "repro")
    assert (tmp_path / "rows.txt").read_text() == "3\n"
    assert "didn't change, skipping" in run(tmp_path, "dvc", "repro").stdout
    client("s3", bucket).put_object(Bucket="winnow", Key="data/test.csv", Body=ROWS)
    assert "Running stage" in run(tmp_path, "dvc", "repro").stdout
    assert (tmp_path / "rows.txt").read_text() == "4\n"
    assert SECRET not in (tmp_path / "dvc.lock").read_text()


@pytest.mark.parametrize("name", ["one.csv", "one.parquet", "one.csv.gz"])
def test_an_object_that_goes_between_listing_and_reading_is_named(bucket: str, name: str) -> None:
    storage = client("s3", bucket)
    storage.put_object(Bucket="winnow", Key=f"late/{name}", Body=ROWS)
    (file,) = find(f"s3://winnow/late/{name}", None)
    storage.delete_object(Bucket="winnow", Key=f"late/{name}")
    with pytest.raises(OSError, match=rf"^s3://winnow/late/{re.escape(name)} cannot be read: .*Check the connection"):
        list(read_records(file, HOW, print))


def test_a_connection_that_breaks_within_parquet_is_no_torn_file() -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if size != len(b"PAR1"):
                raise TimeoutError("the server does not answer")
            return super().read(size)

    file = DataFile("a.parquet", "s3://winnow/a.parquet", lambda: Breaks(b"PAR1" + b"x" * 100))
    with pytest.raises(OSError, match=r"^s3://winnow/a\.parquet cannot be read: the server does not answer\. Check"):
        list(read_records(file, HOW, print))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("s3://nobody/rows.csv", r"s3://nobody/rows\.csv cannot be listed: The specified bucket does not exist"),
        ("s3://winnow/none", r"ingest\.path is 's3://winnow/none': no such object"),
        ("gs://winnow/rows.csv", r"Allowed: a path, or a URL with s3://"),
        ("s3://winnow/data/notes.txt", r"\(\.txt\)\. Allowed: a file that ends in"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_named(path: str, says: str) -> None:
    with pytest.raises((OSError, ValueError), match=says) as raised:
        read(path)
    assert "\n" not in str(raised.value)


def test_wrong_keys_and_a_server_that_is_not_there_are_told_without_a_secret(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    believe_everybody(bucket, False)
    with pytest.raises(OSError, match=r"cannot be listed: .*AWS_ACCESS_KEY_ID") as refused:
        read("s3://winnow/data")
    as_user(monkeypatch, "", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"cannot be listed: .*AWS_ENDPOINT_URL") as unreachable:
        read("s3://winnow/data")
    with pytest.raises(ValueError, match="holds credentials in a URL") as told:
        read(f"s3://AKIAWINNOW:{SECRET}@winnow/data")
    assert not [error for error in (refused, unreachable, told) if SECRET in str(error.value)]
