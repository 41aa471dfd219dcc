"""What new data is compared with as releases come and go: metrics/released_data.json, by `winnow promote`."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import init_repository, run

from flows.cli.releasing import _remember_data
from flows.releases import released_data
from stages.core.paths import Paths


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Path, list[str]]:
    """A repository, and its commits: one from before there were profiles, and two with one each."""
    init_repository(tmp_path)
    paths = Paths(tmp_path)
    commits = []
    for profile in (None, '{"rows": 10}\n', '{"rows": 20}\n'):
        if profile is not None:
            paths.data_profile.parent.mkdir(parents=True, exist_ok=True)
            paths.data_profile.write_text(profile)
        run(tmp_path, "git", "add", "-A")
        run(tmp_path, "git", "commit", "-q", "--allow-empty", "-m", "a release")
        commits.append(run(tmp_path, "git", "rev-parse", "HEAD").stdout.strip())
    released_data.remember(tmp_path, released_data.NOTHING)
    return tmp_path, commits


def test_a_release_is_what_new_data_is_compared_with_and_a_rollback_takes_that_back(
    releases: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (_, first, second) = releases
    for commit, rows in ((first, 10), (second, 20), (first, 10)):
        _remember_data(root, commit)
        assert Paths(root).released_data.read_text() == f'{{"rows": {rows}}}\n'
        assert "Run `dvc repro`, commit." in capsys.readouterr().err
    _remember_data(root, first)
    assert capsys.readouterr().err == "", "nothing changed, so nothing is to be done"


def test_a_release_without_a_profile_leaves_the_one_there_and_says_so(
    releases: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (old, first, _) = releases
    _remember_data(root, first)
    _remember_data(root, old)
    assert Paths(root).released_data.read_text() == '{"rows": 10}\n'
    assert "stays as it is: this release has no profile" in capsys.readouterr().err
