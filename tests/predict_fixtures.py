"""`winnow predict` asked in this process, with a model of two words."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from flow_fixtures import write_word_model

from flows.cli.commands import main


class Said(NamedTuple):
    """What the command left."""

    code: int | str
    out: str
    err: list[str]

    @property
    def lines(self) -> list[str]:
        """Those of `out`."""
        return self.out.splitlines()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_model(tmp_path_factory.mktemp("model"))


def predicted(model: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """The command's exit code and output."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(model), "--threads", "1", *arguments])
    said = capsys.readouterr()
    return Said(ended.value.code or 0, said.out, said.err.splitlines())
