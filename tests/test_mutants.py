"""The list of `make mutants`, which takes minutes: that each line of it is still what it would break."""

from __future__ import annotations

import re

import pytest
from conftest import REPOSITORY
from mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.line}")
def test_a_line_to_break_is_in_its_file_once(mutant: Mutant) -> None:
    assert (REPOSITORY / mutant.file).read_text(encoding="utf-8").count(mutant.line) == 1
    assert (REPOSITORY / "tests" / mutant.tests.split()[0]).is_file()


def test_make_help_says_how_many_there_are() -> None:
    told = re.search(r"^mutants:.*## break (\d+) lines", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M)
    assert told is not None
    assert int(told[1]) == len(MUTANTS)
