"""Checkpoints: of just one run, whole or not there, and never read as anything but tensors and JSON."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stages.training.checkpoints import KEPT_RUNS, MANIFEST, Checkpoints, open_checkpoints

TENSORS = {"trained": {"weight": torch.arange(6.0)}, "kept": {"weight": torch.ones(2)}}


def opened(home: Path, rows: Path, values: Any = None) -> Checkpoints:
    return open_checkpoints(home / "teacher", values or {"seed": 1}, [rows])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "train.arrow").write_bytes(b"rows")
    return folder


@pytest.fixture
def kept(tmp_path: Path, rows: Path) -> Checkpoints:
    """With checkpoints of steps 3 and 6."""
    checkpoints = opened(tmp_path, rows)
    for step in (3, 6):
        checkpoints.save(step, TENSORS, {"step": step})
    return checkpoints


def test_the_newest_is_read_as_it_was_written(kept: Checkpoints) -> None:
    tensors, numbers = kept.newest() or ({}, {})
    assert numbers == {"step": 6}
    assert torch.equal(tensors["trained"]["weight"], torch.arange(6.0))
    assert torch.equal(tensors["kept"]["weight"], torch.ones(2))


def test_a_run_that_is_over_leaves_none(kept: Checkpoints, rows: Path, tmp_path: Path) -> None:
    kept.discard()
    assert opened(tmp_path, rows).newest() is None


@pytest.mark.parametrize("change", ["parameter", "data", "another file"])
def test_other_parameters_or_data_are_another_run(kept: Checkpoints, rows: Path, tmp_path: Path, change: str) -> None:
    assert opened(tmp_path, rows).newest() is not None
    values = {"seed": 2} if change == "parameter" else {"seed": 1}
    if change == "data":
        (rows / "train.arrow").write_bytes(b"other rows")
    elif change == "another file":
        (rows / "validation.arrow").write_bytes(b"")
    other = opened(tmp_path, rows, values)
    assert other.newest() is None
    assert other.key != kept.key


def test_other_code_is_another_run(kept: Checkpoints, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from stages.training import checkpoints

    monkeypatch.setattr(checkpoints, "_code", lambda: iter([b"another loop"]))
    assert opened(tmp_path, rows).newest() is None


def test_a_module_of_the_stages_that_is_edited_is_another_run(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loop.py"
    module = ModuleType("stages.a_loop")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "stages.a_loop", module)
    file.write_text("rate = 1")
    one, same = (opened(tmp_path, rows).key for _ in range(2))
    file.write_text("rate = 2")
    assert one == same != opened(tmp_path, rows).key


def test_another_torch_is_another_run(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened(tmp_path, rows).key
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.0")
    assert opened(tmp_path, rows).key != before


def test_one_bit_of_the_tensors_that_is_another_is_found(kept: Checkpoints, caplog: pytest.LogCaptureFixture) -> None:
    """The file is as good as any other to safetensors."""
    assert kept.folder is not None
    file = kept.folder / "step-00000006/trained.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert len(load_file(file)) == 1
    assert (kept.newest() or ({}, {}))[1] == {"step": 3}
    assert "trained.safetensors has another hash" in caplog.text


def test_going_back_to_what_was_half_trained_finds_it_and_old_runs_go(rows: Path, tmp_path: Path) -> None:
    for seed in range(KEPT_RUNS + 2):
        checkpoints = opened(tmp_path, rows, {"seed": seed + 1})
        checkpoints.save(1, TENSORS, {"seed": seed})
        assert checkpoints.folder is not None
        os.utime(checkpoints.folder, (seed, seed))
    assert opened(tmp_path, rows, {"seed": KEPT_RUNS + 1}).newest() is not None
    assert opened(tmp_path, rows, {"seed": 1}).newest() is None
    assert len(list((tmp_path / "teacher").iterdir())) <= KEPT_RUNS


@pytest.mark.parametrize("lost", [MANIFEST, "trained.safetensors", "numbers.json"])
def test_what_is_missing_is_named_and_the_one_before_is_used(
    kept: Checkpoints, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.folder is not None
    (kept.folder / "step-00000006" / lost).unlink()
    with caplog.at_level(logging.WARNING):
        found = kept.newest()
    assert found is not None
    assert found[1] == {"step": 3}
    assert "step-00000006" in caplog.text
    assert lost in caplog.text


def test_a_run_without_one_that_can_be_used_says_that_it_starts_anew(
    kept: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.folder is not None
    for folder in kept.folder.iterdir():
        (folder / MANIFEST).unlink()
    with caplog.at_level(logging.WARNING):
        assert kept.newest() is None
    assert "none of the checkpoints can be used. The run starts anew" in caplog.text


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.witness}'",)


@pytest.mark.parametrize("name", ["trained.safetensors", "numbers.json", "rng.pt"])
def test_a_pickle_in_a_checkpoint_is_never_executed(
    kept: Checkpoints, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.folder is not None
    newest, witness = kept.folder / "step-00000006", tmp_path / "executed"
    (newest / name).write_bytes(pickle.dumps(Evil(witness)))
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in newest.iterdir() if path.name != MANIFEST
    }
    (newest / MANIFEST).write_text(json.dumps(hashes))  # whoever puts it there writes a manifest that fits
    with caplog.at_level(logging.WARNING):
        found = kept.newest()
    assert not witness.exists()
    assert found is not None
    assert found[1] == {"step": 6 if name == "rng.pt" else 3}


def test_hashes_that_lead_out_of_the_folder_are_not_followed(kept: Checkpoints, tmp_path: Path) -> None:
    assert kept.folder is not None
    outside = tmp_path / "outside.safetensors"
    (kept.folder / "step-00000006/trained.safetensors").rename(outside)
    manifest = kept.folder / "step-00000006" / MANIFEST
    hashes = json.loads(manifest.read_text())
    hashes[str(outside)] = hashes.pop("trained.safetensors")
    manifest.write_text(json.dumps(hashes))
    found = kept.newest()
    assert found is not None
    assert found[1] == {"step": 3}


def test_a_manifest_that_names_a_file_beside_the_folder_is_none(
    kept: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """All that a checkpoint has is there; and one thing more, whose hash is right."""
    assert kept.folder is not None
    beside, manifest = kept.folder / "beside.json", kept.folder / "step-00000006" / MANIFEST
    beside.write_text("{}")
    hashes = {**json.loads(manifest.read_text()), "../beside.json": hashlib.sha256(b"{}").hexdigest()}
    manifest.write_text(json.dumps(hashes))
    assert (kept.newest() or ({}, {}))[1] == {"step": 3}
    assert "does not name just the files that one has" in caplog.text


def test_nothing_is_left_of_what_was_written_beside_its_place(kept: Checkpoints) -> None:
    assert kept.folder is not None
    assert sorted(path.name for path in kept.folder.iterdir()) == ["step-00000003", "step-00000006"]


def spoil(folder: Path, name: str = "trained.safetensors") -> None:
    (folder / name).write_bytes(b"[]")


def steps_of(kept: Checkpoints) -> list[int]:
    assert kept.folder is not None
    return sorted(int(path.name.removeprefix("step-")) for path in kept.folder.glob("step-*"))


@pytest.mark.parametrize("name", ["trained.safetensors", MANIFEST])
def test_a_run_that_starts_anew_keeps_what_it_writes(kept: Checkpoints, name: str) -> None:
    assert kept.folder is not None
    for folder in kept.folder.glob("step-*"):
        spoil(folder, name)
    assert kept.newest() is None
    kept.save(1, TENSORS, {"step": 1})
    kept.save(2, TENSORS, {"step": 2})
    assert steps_of(kept) == [1, 2]
    assert (kept.newest() or ({}, {}))[1] == {"step": 2}


def test_a_run_that_goes_on_before_an_unusable_checkpoint_keeps_two_usable_ones(kept: Checkpoints) -> None:
    assert kept.folder is not None
    spoil(kept.folder / "step-00000006")
    assert (kept.newest() or ({}, {}))[1] == {"step": 3}
    kept.save(5, TENSORS, {"step": 5})
    assert steps_of(kept) == [3, 5]


def test_what_another_process_is_writing_stays(kept: Checkpoints) -> None:
    assert kept.folder is not None
    live, dead = (kept.folder / f".draft-{pid}" for pid in (os.getppid(), 2**22 + 1))
    for draft in (live, dead):
        draft.mkdir()
    kept.save(9, TENSORS, {"step": 9})
    assert (live.is_dir(), dead.is_dir()) == (True, False)


@pytest.mark.parametrize("text", ["5m", "0", "-1", "nan", "inf", ""])
def test_seconds_that_are_no_number_are_refused_in_a_line(
    tmp_path: Path, rows: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_CHECKPOINT_SECONDS", text)
    with pytest.raises(ValueError, match=f"WINNOW_CHECKPOINT_SECONDS is '{text}'. Allowed: a number above 0."):
        opened(tmp_path, rows)
