"""The bytes of a release: those that dvc.lock names, whoever gives them, and inside its folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flows.dvc import storage
from flows.releases import model as released_model
from stages.core import model_folder

FOLDER = "artifacts/models/quantized"


def sealed(folder: Path, weights: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(weights)
    model_folder.seal(folder, backend="linear", task="text_classification", space={"labels": ["a", "b"]})
    return folder


def model(md5: str) -> released_model.Model:
    return released_model.Model("0" * 40, FOLDER, f"{md5}.dir")


@pytest.mark.parametrize("given", [b"the right ones", b"others, well sealed"])
def test_a_whole_and_sealed_model_that_is_another_is_not_taken_from_the_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes
) -> None:
    wanted = model(storage.folder_md5(sealed(tmp_path / "wanted", b"the right ones")))
    monkeypatch.setattr(storage, "get", lambda _root, _path, target, **_: sealed(target, given))
    if given == b"the right ones":
        released_model._fetch(tmp_path, wanted, tmp_path / "fetched")
        return
    with pytest.raises(ValueError, match=f"{FOLDER} of 0000000, as the DVC remote has it, is not what dvc.lock says"):
        released_model._fetch(tmp_path, wanted, tmp_path / "fetched")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside"])
def test_a_list_that_leads_out_of_the_folder_is_refused_and_nothing_is_linked(tmp_path: Path, name: str) -> None:
    content = b"a file of somebody's"
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    listing = json.dumps([{"md5": digest, "relpath": name}]).encode()
    wanted = model(hashlib.md5(listing, usedforsecurity=False).hexdigest())
    for path, given in (
        (storage.cached(tmp_path, digest), content),
        (storage.cached(tmp_path, wanted.md5), listing),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(given)
    with pytest.raises(ValueError, match=r"outside the folder\. Do not use this commit"):
        released_model._link_cached(tmp_path, wanted, tmp_path / "model/deep")
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_altered_object_of_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"altered")
    with pytest.raises(ValueError, match=r"a file is not what dvc\.lock says: its bytes changed"):
        released_model._require_hash(tmp_path / "object", "0" * 32, "a file")
