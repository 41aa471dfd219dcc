"""Drawings of emoji: which drawing has which name, what is a group, and which archives they lie in."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from corpus_fixtures import serving, stored, tar
from source_fixtures import settings
from test_images import BLUE, GREEN, RED, encoded, plain

from flows.cli.commands import cli
from flows.dvc.edits import set_values
from stages.core.contracts import RawRow
from stages.core.params.ingest import IngestParams
from stages.reading.corpora import NPM, Pin, faults, names_in, pin_of, pins_of, place_of, read_archive
from stages.sources.emoji import DRAWN as DRAWINGS
from stages.sources.emoji import rows_of

FOX = {"hexcode": "1F98A", "label": "fox", "tags": ["animal", "face"], "group": 3}
HEART = {"hexcode": "2764", "label": "red heart", "tags": ["love"], "group": 0}
LETTER = {"hexcode": "1F1E6", "label": "regional indicator A"}
NAMES = {"en": [FOX, HEART, LETTER], "de": [{**FOX, "label": "Fuchs"}, {**HEART, "label": "rotes Herz"}, LETTER]}
GROUPS = {"groups": [{"order": 0, "message": "smileys & emotion"}, {"order": 3, "message": "animals & nature"}]}
DRAWN = {"google": {"1f98a": RED, "2764-fe0f": GREEN, "1f44d-1f3fb": BLUE}, "twitter": {"1f98a": BLUE}}
FLUENT = "@lobehub/fluent-emoji-3d"


def archives(folder: Path, without: str = "", *, fluent: bool = False) -> Path:
    """Small archives in the layout of the packages, and the file that pins them."""
    names = {f"package/{code}/data.json": json.dumps(of).encode() for code, of in NAMES.items()}
    made = {"emojibase-data": tar({**names, "package/en/messages.json": json.dumps(GROUPS).encode()})}
    for style, drawings in DRAWN.items():
        images = {f"package/img/{style}/64/{code}.png": encoded(plain(colour)) for code, colour in drawings.items()}
        made[f"emoji-datasource-{style}"] = tar(
            {**images, f"package/img/{style}/sheet.png": b"x", "package/index.js": b"x"}
        )
    if fluent:
        codes = ("1f98a", "2764", "2764-fe0f")  # the last two are one emoji
        made[FLUENT] = tar(
            {f"package/assets/{name}.webp": encoded(plain(RED), "WEBP", lossless=True) for name in codes}
        )
    lines = []
    for name, archive in made.items():
        if name != without:
            pin = pinned_npm(name, archive)
            stored(archive, pin, folder)
            lines.append(f"npm:{name}==1.0.0 --hash=sha256:{pin.sha256}")
    (folder / "emoji.txt").write_text("# a comment\n" + "\n".join(lines) + "\n")
    return folder / "emoji.txt"


def pinned_npm(name: str, archive: bytes) -> Pin:
    return Pin(name, "1.0.0", hashlib.sha256(archive).hexdigest(), NPM)


def params(path: Path, text: str = "label", **changes: Any) -> IngestParams:
    columns = {"text": "image", "text_pair": text, "label": text}
    return settings(path, source="emoji", columns=columns, **changes)


def test_each_drawing_has_the_name_of_its_emoji_and_those_of_one_emoji_are_a_group(tmp_path: Path) -> None:
    how = params(archives(tmp_path), keep_columns=["style", "hexcode", "category"])
    found = list(rows_of(how, 20, tmp_path))
    assert found == [
        RawRow("google/1F98A.png", None, "google/1F98A", None, "emoji 1F98A",
               '{"category": "animals & nature", "hexcode": "1F98A", "style": "google"}', "fox", encoded(plain(RED))),
        RawRow("google/2764.png", None, "google/2764", None, "emoji 2764",
               '{"category": "smileys & emotion", "hexcode": "2764", "style": "google"}', "red heart",
               encoded(plain(GREEN))),
        RawRow("twitter/1F98A.png", None, "twitter/1F98A", None, "emoji 1F98A",
               '{"category": "animals & nature", "hexcode": "1F98A", "style": "twitter"}', "fox", encoded(plain(BLUE))),
    ]  # fmt: skip


def test_a_text_may_be_the_tags_and_in_another_language(tmp_path: Path) -> None:
    path = archives(tmp_path)

    def texts(column: str) -> list[str | None]:
        return [row.text_pair for row in rows_of(params(path, column), 20, tmp_path) if isinstance(row, RawRow)]

    assert texts("tags") == ["animal, face", "love", "animal, face"]
    assert texts("label.de") == ["Fuchs", "rotes Herz", "Fuchs"]
    for column in ("name", "image"):
        with pytest.raises(ValueError, match=r"Allowed for emoji: label, tags, with a language behind a dot"):
            texts(column) if column == "name" else list(rows_of(params(path, "hexcode"), 20, tmp_path))
    with pytest.raises(ValueError, match=r"emojibase-data 1\.0\.0 has no package/xx/data\.json"):
        texts("label.xx")
    with pytest.raises(ValueError, match=r"several with commas between, each once"):
        texts("label, label")


def test_of_several_texts_a_drawing_has_a_row_each_of_one_group(tmp_path: Path) -> None:
    found = [
        row for row in rows_of(params(archives(tmp_path), "label, tags.de"), 20, tmp_path) if isinstance(row, RawRow)
    ]
    assert [(row.origin, row.text_pair, row.group) for row in found[:3]] == [
        ("google/1F98A label.en", "fox", "emoji 1F98A"),
        ("google/1F98A tags.de", "animal, face", "emoji 1F98A"),
        ("google/2764 label.en", "red heart", "emoji 2764"),
    ]
    assert len(found) == 6


def test_a_package_in_a_scope_has_drawings_too(tmp_path: Path) -> None:
    path = archives(tmp_path, fluent=True)
    assert pins_of(path)[-1].package == FLUENT
    found = [row for row in rows_of(params(path), 20, tmp_path) if isinstance(row, RawRow)]
    assert [(row.text, row.text_pair, row.group) for row in found[3:]] == [
        ("fluent/1F98A.webp", "fox", "emoji 1F98A"), ("fluent/2764.webp", "red heart", "emoji 2764")
    ]  # fmt: skip
    path.write_text(path.read_text().replace("npm:@lobehub", "@lobehub"))
    with pytest.raises(ValueError, match=r"has the line '@lobehub/fluent-emoji-3d==1"):
        pins_of(path)


def test_a_style_may_be_set_aside(tmp_path: Path) -> None:
    splits = settings("x").splits.model_dump() | {"held_out": "twitter"}
    found = rows_of(params(archives(tmp_path), splits=splits), 20, tmp_path)
    assert [(row.origin, row.split) for row in found if isinstance(row, RawRow)] == [
        ("google/1F98A", None), ("google/2764", None), ("twitter/1F98A", "held_out")
    ]  # fmt: skip


def test_a_style_that_is_only_tested_has_no_drawing_of_an_emoji_to_learn_from(tmp_path: Path) -> None:
    splits = settings("x").splits.model_dump() | {"test": "twitter"}

    def found(seed: int) -> list[tuple[str, str | None]]:
        rows = rows_of(params(archives(tmp_path), splits=splits), seed, tmp_path)
        return [(row.origin, row.split) for row in rows if isinstance(row, RawRow)]

    tested = {seed: {origin.partition("/")[2] for origin, split in found(seed) if split} for seed in range(20)}
    fox = next(seed for seed, codes in tested.items() if codes == {"1F98A"})
    assert found(fox) == [("google/1F98A", "test"), ("google/2764", None), ("twitter/1F98A", "test")]
    heart = next(seed for seed, codes in tested.items() if codes == {"2764"})
    assert found(heart) == [("google/1F98A", None), ("google/2764", "test")]


def test_what_is_missing_or_altered_or_not_asked_for_so_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Allowed for emoji: one emojibase-data, and packages"):
        list(rows_of(params(archives(tmp_path, without="emojibase-data")), 20, tmp_path))
    path = archives(tmp_path)
    with pytest.raises(ValueError, match=r"keep_columns has skin\. Allowed for emoji: style, hexcode, category"):
        list(rows_of(params(path, keep_columns=["skin"]), 20, tmp_path))
    pin = pins_of(path)[0]
    place_of(pin, tmp_path).write_bytes(b"other bytes")
    with pytest.raises(ValueError, match=r"its SHA-256 is .* so it is not emojibase-data 1\.0\.0 as it is pinned"):
        list(rows_of(params(path), 20, tmp_path))
    place_of(pin, tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match=r"Fetch it, in the project's folder: winnow fetch"):
        list(rows_of(params(path), 20, tmp_path))


def test_the_archives_are_pinned_by_name_version_and_hash(tmp_path: Path) -> None:
    pins = pins_of(REPOSITORY / "emoji.txt")
    assert {pin.package for pin in pins} == {*DRAWINGS, "emojibase-data"}
    assert {pin.ending for pin in pins} == {NPM}
    assert list(faults(REPOSITORY / "emoji.txt", "emoji")) == []
    (tmp_path / "pins.txt").write_text("emojibase-data@17.0.0\n")
    (told,) = faults(tmp_path / "pins.txt", "emoji")
    assert "has the line 'emojibase-data@17.0.0'. Allowed: npm:name==1.0 --hash=sha256:..." in told
    with pytest.raises(ValueError, match="has 4 lines that are no comments"):
        pin_of(REPOSITORY / "emoji.txt")


def test_winnow_fetch_takes_each_archive_from_the_registry_of_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archives(tmp_path, fluent=True)
    for pin in pins_of(path):
        place = tmp_path / "registry" / pin.package / "-" / f"{pin.package.rpartition('/')[2]}-{pin.version}.tgz"
        place.parent.mkdir(parents=True)
        place_of(pin, tmp_path).rename(place)
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    set_values(tmp_path / "params.yaml", {"ingest.source": "emoji", "ingest.path": "emoji.txt"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    monkeypatch.delenv("npm_config_registry", raising=False)
    with serving(tmp_path / "registry") as url:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", url)
        cli.main(["fetch"], standalone_mode=False)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in told] == [str(pin) for pin in pins_of(path)]
    assert all(read_archive(pin, tmp_path / "installation/corpora") for pin in pins_of(path))


def test_the_names_in_an_archive_are_those_of_plain_files() -> None:
    archive = tar({"package/a.png": b"x"}, links={"package/b.png": "a.png"})
    assert names_in(archive, shown="it") == ["package/a.png"]
    with pytest.raises(ValueError, match="it: no archive that can be read"):
        names_in(b"no archive", shown="it")
