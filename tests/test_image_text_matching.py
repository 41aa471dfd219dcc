"""Images and texts: read, learned, answered, ranked and measured, by hand; and through the stages to int8."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import warm_python
import yaml
from conftest import REPOSITORY
from PIL import Image as Picture
from predict_fixtures import predicted
from pydantic import ValidationError
from test_images import BLUE, GREEN, RED, encoded, plain
from torch.nn import functional

from flows.cli.answering import SOME_UNANSWERED
from flows.cli.images import repeated
from flows.dvc.storage import md5
from flows.gate.rejudged import _with_images
from stages.clean import clean
from stages.core.contracts import IMAGE, Head, Image, Outputs, RawRow, RejectedRow, Runner
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.core.params.file import Params, load_params
from stages.core.params.ingest import IngestParams
from stages.core.params.task import faults_of_task
from stages.core.paths import MODELS, Paths
from stages.ingest import ingest
from stages.measures import zero_shot
from stages.measures.image_changes import CHANGES, blurred, cropped, grey, has_image, with_image
from stages.measures.opened import Opened, opened
from stages.models.known_texts import KnownTexts
from stages.reading.clean_rows import read_split, texts_of
from stages.sources import files, hub
from stages.tasks.contract import Judged
from stages.tasks.image_text_matching import scores
from stages.tasks.image_text_matching.answers import ANSWERS
from stages.tasks.image_text_matching.baseline import BASELINE, thumbnails
from stages.tasks.image_text_matching.data import DATA
from stages.tasks.image_text_matching.encoding import ENCODING
from stages.tasks.image_text_matching.learning import LEARNING
from stages.tasks.image_text_matching.measures import MEASURES
from stages.tasks.image_text_matching.settings import SETTINGS
from stages.tasks.shared.matched_texts import pair_of
from stages.training.rows import read_tokens
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")


def params_with(**changes: dict[str, Any]) -> Params:
    """Winnow's own parameters with those of a new project of the task, and others by section."""
    values = PARAMS.model_dump(by_alias=True)
    values["task"] = {"name": "image_text_matching", "measure": "recall_at_1"}
    values["ingest"]["source"], values["ingest"]["path"] = "files", "data"
    values["ingest"]["columns"] = {"text": "image", "text_pair": "caption", "label": "caption"}
    for name, value in SETTINGS.starts.items():
        section, _, key = name.partition(".")
        values[section][key] = value
    for section, own in changes.items():
        values[section] |= own
    return Params.model_validate(values)


# the data and the parameters


def test_a_row_has_the_text_of_its_image_as_its_target_and_its_image_as_its_group() -> None:
    rows: list[RawRow | RejectedRow]
    rows = [RawRow("imagea", "a fox", "a:1", text_pair="a  fox"), RawRow("imageb", None, "a:2", group="own"),
            RejectedRow("a:3", "image_empty", "x", "y")]  # fmt: skip
    one, without, refused = DATA.read(rows)
    assert isinstance(one, RawRow)
    assert (one.label, one.group) == (pair_of("a fox"), "imagea")
    assert isinstance(without, RawRow)
    assert (without.label, without.group) == (None, "own")
    assert refused == rows[2]


def test_a_new_project_has_no_faults_but_those_of_the_default_one_are_named() -> None:
    assert list(faults_of_task(params_with())) == []
    told = [line.removeprefix("params.yaml: ").partition(" is ")[0] for line in SETTINGS.faults(PARAMS)]
    assert told == ["ingest.images", "ingest.columns.text_pair", "validate.min_labels", "promotion.max_ece"]
    wrong = params_with(
        ingest={"path": "data/rows.csv"}, clean={"rules": ["no_stop_words"], "languages": ["en"]},
        finetune={"class_weights": "balanced", "teachers": 2}, evaluate={"slices": ["label"]},
        model={"family": "encoder", "image": {**SETTINGS.starts["model.image"], "size": 32}},
    )  # fmt: skip
    told = [line.removeprefix("params.yaml: ").partition(" ")[0] for line in faults_of_task(wrong)]
    assert told == ["model.family", "ingest.path", "clean.rules", "clean.languages", "model.image.size",
                    "finetune.class_weights", "finetune.teachers", "evaluate.slices"]  # fmt: skip


def test_what_a_frozen_tower_says_of_a_text_is_kept_as_it_says_it_without_dropout() -> None:
    class Tower(torch.nn.Module):
        def forward(self, ids_1T: torch.Tensor, _mask_1T: torch.Tensor) -> torch.Tensor:
            return functional.dropout(torch.ones(len(ids_1T), 64), 0.5, training=self.training)

    tower, ids = Tower().train(), torch.tensor([[1, 2]])
    assert KnownTexts().read(tower, ids, torch.ones_like(ids)).tolist() == [[1.0] * 64]
    assert tower.training


def test_two_towers_are_for_images_alone() -> None:
    values = PARAMS.model_dump(by_alias=True)
    values["model"]["family"] = "two_towers"
    (told,) = faults_of_task(Params.model_validate(values))
    assert "model.family is 'two_towers'. Allowed for task 'text_classification'" in told


class Encoded:
    def __init__(self, *ids: int) -> None:
        self.ids = list(ids)


def test_images_and_texts_are_numbered_by_what_they_are() -> None:
    pairs = [("imagea", Encoded(2, 5)), ("imagea", Encoded(2, 6)), ("imageb", Encoded(2, 5)), ("imagec", Encoded(2))]
    targets = [pair_of("x"), pair_of("y"), pair_of("z"), None]
    one, same_image, same_text, nothing = ENCODING.targets(targets, pairs, [0, 1, 2, 3], {})
    assert (one[0] == same_image[0], one[1] == same_text[1]) == (True, True)
    assert (one[1] == same_image[1], one[0] == same_text[0]) == (False, False)
    assert all(map(math.isnan, nothing))
    assert all(float(np.float32(number)) == number for number in (*one, *same_image))


# the training


def vectors(*angles: tuple[float, float], scale: float = 4.0) -> torch.Tensor:
    """(B, 2, 2): of each row two vectors by their angles in degrees, whose products are `scale` times the cosine."""
    turned = torch.deg2rad(torch.tensor(angles))
    return torch.stack([turned.cos(), turned.sin()], dim=-1) * math.sqrt(scale)


NUMBERS = torch.tensor([[1.0, 7.0], [2.0, 8.0], [3.0, 9.0]])


def test_the_loss_is_the_cross_entropy_both_ways_with_the_learned_scale() -> None:
    angles = ((0, 30), (90, 75), (200, 180))
    cosines, own = vectors(*angles, scale=1.0), torch.arange(3)
    for scale in (1.0, 14.0):
        logits = scale * cosines[:, 0] @ cosines[:, 1].T
        expected = (functional.cross_entropy(logits, own, reduction="none")
                    + functional.cross_entropy(logits.T, own, reduction="none")) / 2  # fmt: skip
        assert torch.allclose(LEARNING.loss(vectors(*angles, scale=scale), NUMBERS), expected, atol=1e-5)
    assert LEARNING.head({}) == Head("vector", 0)
    with pytest.raises(ValueError, match=r"Allowed for vectors: 0\.0, none"):
        LEARNING.loss(vectors((0, 0)), NUMBERS[:1], label_smoothing=0.1)


def test_other_texts_of_the_image_do_not_compete_and_rows_without_a_text_add_nothing() -> None:
    batch, nan = vectors((0, 30), (90, 75), (0, 100), (10, 20)), math.nan
    numbers = torch.tensor([[1.0, 7.0], [2.0, 8.0], [1.0, 9.0], [nan, nan]])
    found = LEARNING.loss(batch, numbers)
    first = -(batch[:1, 0] @ batch[:2, 1].T).log_softmax(1)[0, 0]
    back = -(batch[:1, 1] @ batch[[0, 1], 0].T).log_softmax(1)[0, 0]
    assert found[0].item() == pytest.approx(float(first + back) / 2, abs=1e-5)
    assert found[3].item() == 0


def test_a_student_with_its_teachers_similarities_loses_nothing_whatever_its_width() -> None:
    teacher, mask = vectors((0, 30), (90, 75), (200, 180)), torch.ones(3, 4)
    wider = functional.pad(teacher, (1, 3))
    assert LEARNING.distilled(wider, teacher, mask, temperature=2.0).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert (LEARNING.distilled(wider.flip(0), teacher, mask, temperature=2.0)[:2] > 0.01).all()


def test_a_student_with_vectors_as_wide_as_its_teachers_learns_their_directions_too() -> None:
    teacher, mask = vectors((0, 30), (90, 75), (200, 180)), torch.ones(3, 4)
    assert LEARNING.distilled(teacher, teacher, mask, temperature=2.0).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    turned = vectors((60, 90), (150, 135), (260, 240))  # all similarities are the same
    expected = 2 - 2 * math.cos(math.radians(60))
    assert LEARNING.distilled(turned, teacher, mask, temperature=2.0).tolist() == pytest.approx(
        [expected] * 3, abs=1e-5
    )


def test_a_row_is_of_the_class_whose_prompts_lie_nearest_in_the_mean() -> None:
    rows = Outputs(vectors((0, 90), (80, 0), (5, 0), scale=9.0).numpy())
    # two prompts a class, whose texts have the means 20 and 70 degrees
    prompts = Outputs(vectors((0, 10), (0, 30), (0, 50), (0, 90)).numpy())
    assert ANSWERS.likeliest is not None
    found = ANSWERS.likeliest(rows, prompts, 2)
    assert found is not None
    assert found.tolist() == [0, 1, 0]
    assert ANSWERS.likeliest(Outputs(np.zeros((2, 1, 3))), prompts, 2) is None


def test_each_image_is_one_row_of_the_classes_that_are_asked_for() -> None:
    kinds, angles = ["bird", None, "fish", "bird"], {"a bird": 0.0, "bird": 20.0, "a fish": 80.0, "fish": 100.0}
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    texts: list[Any] = [(Image(name, pixels), "x") for name in ("one", "two", "three", "one")]

    def predict(pairs: Any) -> Outputs:
        return Outputs(vectors(*((0, angles[text]) for _, text in pairs)).numpy())

    given = Outputs(vectors((5, 0), (0, 0), (10, 0), (5, 0)).numpy())
    judged = Judged(texts, ["x"] * 4, ["y"] * 4, given, None, np.zeros(4), np.zeros(4), ["u"] * 4, {}, 1,
                    {"kind": kinds})  # fmt: skip
    model = Opened(Runner("image_text_matching", {}, predict), ANSWERS, MEASURES)
    asked = params_with(
        ingest={"keep_columns": ["kind"]},
        evaluate={"zero_shot": {"column": "kind", "templates": ["a {}", "{}"]}},
    )
    assert list(faults_of_task(asked)) == []
    assert zero_shot.measure(judged, model, asked.evaluate) == {
        "zero_shot": {"column": "kind", "classes": 2, "rows": 2, "commonest": 0.5, "accuracy": 0.5}
    }
    assert zero_shot.measure(judged, model, params_with().evaluate) == {}
    (told,) = faults_of_task(params_with(evaluate={"zero_shot": {"column": "kind", "templates": ["{}"]}}))
    assert "evaluate.zero_shot.column is 'kind', which ingest.keep_columns does not have" in told
    values = PARAMS.model_dump(by_alias=True)
    values["evaluate"]["zero_shot"] = {"column": "kind", "templates": ["{}"]}
    (told,) = faults_of_task(Params.model_validate(values))
    assert "have no images. Allowed for it: null" in told
    with pytest.raises(ValidationError, match="templates"):
        params_with(evaluate={"zero_shot": {"column": "kind", "templates": ["a drawing"]}})


def test_an_epoch_is_scored_by_recall_both_ways() -> None:
    targets = [*NUMBERS.tolist(), [math.nan, math.nan]]
    found = LEARNING.score(targets, list(vectors((0, 30), (40, 75), (80, 10), (0, 0)).numpy()))
    # texts of images: 30 of 0 is second (10); 75 of 40 third (30, 10... 35 away); 10 of 80 third
    assert found["text_recall_at_1"] == 0
    assert found["text_recall_at_5"] == found["image_recall_at_5"] == 1
    assert found["recall_at_1"] == pytest.approx((found["text_recall_at_1"] + found["image_recall_at_1"]) / 2)


# the answers and the measures


def outputs(*angles: tuple[float, float]) -> Outputs:
    return Outputs(vectors(*angles).numpy().astype(np.float32), numbers=np.array(angles, dtype=np.int64))


def test_an_answer_is_the_cosine_and_the_ranks_both_ways() -> None:
    # image 0 has text 60, image 1 text 40, image 2 text 20: nearest to each image is 20, to each text image 2
    given = ANSWERS.answers(outputs((0, 60), (1, 40), (2, 20)), {})
    assert given == ["0.5, text 3, image 3", "0.78, text 2, image 2", "0.95, text 1, image 1"]
    assert [scores.from_text(one).as_text() for one in given] == given
    assert ANSWERS.answers(Outputs(np.empty((0, 2, 2))), {}) == []
    assert ANSWERS.losses(["x"] * 2, outputs((0, 60), (0, 0)), {}).tolist() == pytest.approx([0.5, 0.0], abs=1e-6)
    record = ANSWERS.record(outputs((0, 60)), 0, "", {})
    assert (record, ANSWERS.shown(record)) == ({"similarity": 0.5}, "0.5000")
    alone = ANSWERS.record(Outputs(np.array([[3.0, 4.0]], dtype=np.float32)), 0, "", {})
    assert (alone, ANSWERS.shown(alone)) == ({"vector": [0.6, 0.8]}, "0.6 0.8")
    assert ANSWERS.shown(ANSWERS.nothing) == "null"


def test_the_scale_changes_no_answer_and_no_divergence() -> None:
    angles = ((0, 60), (1, 40), (2, 20))
    one, other = (Outputs(vectors(*angles, scale=s).numpy(), numbers=np.array(angles)) for s in (1.0, 90.0))
    assert ANSWERS.answers(one, {}) == ANSWERS.answers(other, {})
    assert ANSWERS.divergence(one, other) == pytest.approx(0, abs=1e-6)
    turned = Outputs(vectors((90, 150), (91, 130), (92, 110)).numpy())
    assert ANSWERS.divergence(one, turned) == pytest.approx(1, abs=1e-6)


def test_measures_are_shares_of_rows_that_are_found() -> None:
    given = ["0.5, text 1, image 1", "0.5, text 5, image 6", "0.5, text 11, image 1", "0.5, text 2, image 10"]
    sums = np.asarray(MEASURES.counts(given, given).sum(0)).reshape(1, -1)
    found = {one.name: float(one.value(sums)[0]) for one in MEASURES.measures}
    assert found == {
        "text_recall_at_1": 0.25, "text_recall_at_5": 0.75, "text_recall_at_10": 0.75,
        "image_recall_at_1": 0.5, "image_recall_at_5": 0.5, "image_recall_at_10": 1.0,
        "recall_at_1": 0.375, "recall_at_5": 0.625, "recall_at_10": 0.875,
    }  # fmt: skip
    assert MEASURES.scores(given, given).tolist() == [1, 0, 0.5, 0]
    assert ANSWERS.score(given, given, {}) == pytest.approx(found)
    assert set(SETTINGS.measures) == set(found)
    assert SETTINGS.measures[0] == MEASURES.measures[0].name == "recall_at_1"
    assert MEASURES.measure("image_recall_at_5").title == "recall@5 of images by texts"


# the floor


def image(colour: tuple[int, int, int], corner: tuple[int, int, int], name: str) -> Image:
    pixels = np.empty((8, 8, 3), dtype=np.uint8)
    pixels[:], pixels[:4, :4] = colour, corner
    return Image(name, pixels)


def test_an_image_of_the_floor_has_the_words_of_the_one_that_looks_most_like_it() -> None:
    train: list[Any] = [(image(RED, BLUE, "a"), "red fox"), (image(RED, BLUE, "a"), "small fox"),
                        (image(BLUE, GREEN, "b"), "green frog")]  # fmt: skip
    model = BASELINE.fit(train, ["x"] * 3, {}, PARAMS.baseline, 3)
    assert len(model.weights["thumbnails"]) == 2
    predict = BASELINE.opened(model)
    found = predict(
        [(image((250, 5, 5), (0, 0, 240), "c"), "small fox"), (image(BLUE, (0, 230, 0), "d"), "green frog")]
    )
    assert ANSWERS.answers(found, {})[0].endswith(", text 1, image 1")
    assert found.values[:, 0, 0].min() > 0.3
    assert predict([]).values.shape == (0, 1, 3)


def test_a_thumbnail_does_not_hang_on_brightness_or_contrast() -> None:
    dark, bright = (np.full((16, 16, 3), value, dtype=np.uint8) for value in (10, 100))
    dark[:8], bright[:8] = 20, 120
    one, other = thumbnails([Image("a", dark), Image("b", bright)])
    assert np.allclose(one, other, atol=1e-6)
    assert np.linalg.norm(one) == pytest.approx(1)
    assert not thumbnails([Image("c", np.full((16, 16, 3), 7, dtype=np.uint8))]).any()


# changed images


def test_an_image_is_blurred_or_cropped_or_grey() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = RED
    assert blurred(pixels)[4, 7].tolist() == [85, 0, 0]
    assert (blurred(pixels)[4, 3].tolist(), blurred(pixels)[0, 15].tolist()) == ([0, 0, 0], [255, 0, 0])
    assert grey(pixels)[0, 15].tolist() == [76, 76, 76]
    edge = pixels.copy()
    edge[:2] = GREEN
    assert (cropped(edge)[..., 1] == 0).all()
    assert cropped(edge).shape == edge.shape
    assert (cropped(edge)[..., 0] > 0).mean() == pytest.approx(0.5, abs=0.07)
    pair = (Image("a", pixels), "text")
    assert has_image(pair)
    assert not has_image(("a", "b"))
    assert with_image(pair, grey)[0] != "a"
    plain_grey = (Image("a", grey(pixels)), "text")
    assert with_image(plain_grey, grey) == plain_grey
    assert sorted(CHANGES) == ["blurred", "cropped", "grey"]


# the sources


def ingest_params(folder: Path, **changes: Any) -> IngestParams:
    return params_with(ingest={"path": str(folder), **changes}).ingest


def test_a_path_is_from_the_folder_that_its_table_is_in(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/rows.csv").write_text("image,caption\nred.png,a red one\n,none\n")
    how = ingest_params(tmp_path, pattern="**/*.csv")
    rows = [row for row in files.read(how, 0, structured=DATA.structured) if isinstance(row, RawRow)]
    assert [(row.text, row.text_pair, row.image) for row in rows] == [
        ("a/red.png", "a red one", None), (None, "none", None)
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["files", "hub"])
def test_parquet_may_hold_the_images_themselves(tmp_path: Path, source: str) -> None:
    red, blue = encoded(plain(RED)), encoded(plain(BLUE))
    cells = [{"bytes": red, "path": "red.png"}, {"bytes": blue, "path": None}, None, {"bytes": b"no", "path": "x"}]
    table = pa.table({"image": cells, "caption": ["red", "blue", "none", "bad"]})
    if source == "hub":
        import datasets

        features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
        table = table.cast(features.arrow_schema)
    pq.write_table(table, tmp_path / "train.parquet")
    read = (files if source == "files" else hub).read
    how = ingest_params(tmp_path, source=source)
    rows = [row for row in read(how, 0, structured=DATA.structured) if isinstance(row, RawRow)]
    assert [row.image for row in rows] == [red, blue, None, b"no"]
    assert [row.text_pair for row in rows] == ["red", "blue", "none", "bad"]
    assert IMAGE in DATA.structured


# through the stages


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """All stages, with a tiny encoder of texts and a tiny new tower of images."""
    root = tmp_path_factory.mktemp("images")
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/image_run.py"), str(root), "MODELS"],
        cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return Paths(root)


def test_unreadable_images_are_named_and_no_images_rows_are_on_two_sides(ran: Paths) -> None:
    unread = pq.read_table(ran.unreadable).to_pylist()
    assert sorted(row["reason"] for row in unread) == ["image_broken", "image_missing", "image_outside"]
    clean = pq.read_table(ran.clean).to_pandas()
    assert clean.groupby("text")["split"].nunique().max() == 1
    assert set(clean["split"]) == {"train", "validation", "test"}


def test_rows_have_the_tokens_of_their_text_and_the_pixels_of_their_image(ran: Paths) -> None:
    from stages.reading.pixels import open_images

    images = open_images(ran.images)
    assert images is not None
    rows = read_tokens(ran.tokens / "train", images)
    texts = texts_of(read_split(ran.clean, "train"), ran.images)
    first, caption, row = texts[0][0], texts[0][1], rows[0]
    assert isinstance(first, Image)
    assert np.array_equal(row["pixel_values"], first.pixels)
    assert row["pixel_values"].shape == (16, 16, 3)
    assert len(row["input_ids"]) == len(str(caption).split()) + 2


def test_every_model_is_measured_and_the_int8_one_has_learned(ran: Paths) -> None:
    found = {model: read_json(ran.quality(model)) for model in MODELS}
    assert {model for model, quality in found.items() if "left_out" in quality} == {"static", "probe"}
    recall = {name: one["recall_at_5"] for name, one in found.items() if "left_out" not in one}
    assert recall["quantized"] > 3 * 5 / len(read_split(ran.clean, "test")), recall
    assert {*CHANGES} <= found["quantized"]["robustness"].keys()
    asked = {name: one["zero_shot"] for name, one in found.items() if "left_out" not in one}
    assert asked["baseline"]["accuracy"] is None
    assert asked["quantized"]["accuracy"] > 2 * asked["quantized"]["commonest"], asked
    assert sorted(path.name for path in ran.model("quantized").iterdir()) == [
        "README.md", "images.onnx", "manifest.json", "model.json", "model.onnx", "tokenizer.json"
    ]  # fmt: skip


def test_labels_follow_their_option_up_to_the_next_one() -> None:
    given = ["a.png", "--labels", "a cat", "a dog", "--json", "--model", "m"]
    assert repeated(given) == ["a.png", "--labels", "a cat", "--labels", "a dog", "--json", "--model", "m"]
    assert repeated(["--labels", "a", "b", "--", "x", "--labels", "y"]) == [
        "--labels", "a", "--labels", "b", "--", "x", "--labels", "y"
    ]  # fmt: skip
    assert repeated(["text", "--pair", "other"]) == ["text", "--pair", "other"]


def test_predict_says_which_label_an_image_has_or_gives_its_vector(
    ran: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ran.model("quantized")
    drawings = [str(ran.root / f"data/drawings/{number}.png") for number in (0, 1)]
    labels = ("the ship near a river", "the owl near a forest", "the butter near a bread")
    lines = [line.split("\t") for line in predicted(folder, capsys, *drawings, "--labels", *labels).lines]
    assert [line[2] for line in lines] == drawings
    found = [json.loads(line) for line in predicted(folder, capsys, *drawings, "--json", "--labels", *labels).lines]
    assert [[one["label"], f"{one['probability']:.4f}"] for one in found] == [line[:2] for line in lines]
    expected = load(folder, threads=1).zero_shot(drawings, labels)
    for one, likely in zip(found, expected, strict=True):
        assert list(one["probabilities"].values()) == pytest.approx(likely.tolist(), abs=1e-5)
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    (ran.root / "elsewhere").mkdir()
    linked = ran.root / "elsewhere/link.png"
    linked.symlink_to(drawings[0])
    assert predicted(folder, capsys, str(linked), "--labels", *labels).lines[0].startswith("\t".join(lines[0][:2]))
    (vector,) = predicted(folder, capsys, drawings[0]).lines
    assert np.linalg.norm([float(number) for number in vector.partition("\t")[0].split()]) == pytest.approx(1, abs=1e-3)
    for wrong, told in (
        (["--top", "2", "--labels", "a"], "--top is not for images"),
        (["--pair", "x", "--labels", "a"], "--pair is not for images"),
        (["--beams", "2", "--labels", "a"], "--beams is not for images"),
        (["--template", "a drawing"], "--template says how a label is said"),
        (["--template", "a drawing", "--labels", "a"], "the template 'a drawing' has no {} for the label"),
    ):
        said = predicted(folder, capsys, drawings[0], *wrong)
        assert (said.code != 0, told in said.err[-1]) == (True, True), said
    missing = str(ran.root / "data/drawings/none.png")
    said = predicted(folder, capsys, drawings[0], missing)  # one of two names is mistyped: its words are no caption
    assert said.lines[0] == vector
    assert "none.png cannot be read: there is no such file" in "\n".join(said.err)
    assert "give IMAGE before --labels" in predicted(folder, capsys, "--labels", "a").err[-1]


def test_a_table_of_images_is_answered_and_one_that_cannot_be_read_costs_its_row_alone(
    ran: Paths, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    drawing, table, out = ran.root / "data/drawings/0.png", tmp_path / "pairs.csv", tmp_path / "out.csv"
    table.write_text(f"image,caption\n{drawing},the ship\n{tmp_path}/none.png,an owl\n{drawing},an owl\n")
    columns = ("--text-column", "image", "--text-pair-column", "caption")
    said = predicted(ran.model("quantized"), capsys, str(table), *columns, "-o", str(out))
    assert said.code == SOME_UNANSWERED, said
    with out.open(encoding="utf-8", newline="") as file:
        first, torn, other = csv.DictReader(file)
    assert all(-1 <= float(row["answer"]) <= 1 for row in (first, other))
    assert (torn["answer"], first["error"]) == ("", "")
    assert "none.png cannot be read: there is no such file" in torn["error"]
    beside = ran.root / "data/beside.csv"
    beside.write_text("image,caption\ndrawings/0.png,the ship\n")
    assert "drawings" not in [entry.name for entry in Path().iterdir()]
    for more in (columns[2:], ()):  # a pair, and the image alone
        said = predicted(
            ran.model("quantized"), capsys, str(beside), *columns[:2], *more, "-o", str(tmp_path / "b.csv")
        )
        assert said.code == 0, said
    whole = predicted(ran.model("quantized"), capsys, str(table), *columns)
    assert [line.partition("\t")[0] for line in whole.lines][::2] == [
        f"{float(row['answer']):.4f}" for row in (first, other)
    ]


def test_the_released_model_looks_at_the_images_that_rows_name(ran: Paths, tmp_path: Path) -> None:
    """A project after a run, whose images are known by the hash in dvc.lock."""
    Paths(tmp_path).images.parent.mkdir(parents=True)
    shutil.copyfile(ran.images, Paths(tmp_path).images)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    out = {
        "path": "artifacts/data/images.arrow",
        "hash": "md5",
        "md5": md5(ran.images),
        "size": ran.images.stat().st_size,
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"ingest": {"outs": [out]}}}))
    folder = ran.model("quantized")
    made = describe(folder)["images"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": {"images": made | {"max_bytes": 7}}}))
    texts = list(clean_rows_of(ran))
    given = _with_images(tmp_path, texts, describe(folder))
    assert all(isinstance(one[0], Image) for one in given)
    assert given == texts
    assert len(opened(folder).ask(given).answers) == len(texts)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": {"images": made | {"size": 32}}}))
    with pytest.raises(
        ValueError, match=r"ingest\.images is .*'size': 32.*, and the released model looks at images of"
    ):
        _with_images(tmp_path, texts, describe(folder))


def clean_rows_of(paths: Paths) -> Iterator[tuple[str, str]]:
    """Of the test rows what clean.parquet has: the name of the image, and the text."""
    rows = read_split(paths.clean, "test")
    yield from zip(rows["text"].to_pylist(), rows["text_pair"].to_pylist(), strict=True)


def test_the_int8_folder_compares_images_of_files_with_texts_without_torch(ran: Paths) -> None:
    folder, drawing = ran.model("quantized"), ran.root / "data/drawings/0.png"
    answers = load(folder, threads=1)(
        [(str(drawing), "the ship near a river"), (str(drawing), "the owl near a forest")]
    )
    assert all(-1 <= one["similarity"] <= 1 for one in answers)
    code = (
        f"import sys; from winnow import load; print(load({str(folder)!r}, threads=1)([({str(drawing)!r}, 'a ship')]));"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_near_copies_of_images_that_the_data_tests_or_sets_aside_are_not_learned_from(tmp_path: Path) -> None:
    """Each image is its own noise, so that only a copy of other size is like it."""
    given = {"fox": "test", "ship": "train", "owl": "train", "hat": "held_out", "cup": "validation"}
    rows, folder = ["image,caption,split"], tmp_path / "data"
    folder.mkdir()
    for number, (name, split) in enumerate(given.items()):
        drawn = Picture.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8))
        for size, end in ((64, ""), (60, "_small")):
            drawn.resize((size, size), Picture.Resampling.BICUBIC).save(folder / f"{name}{end}.png")
        rows += [f"{name}.png,the {name},{split}", f"{name}_small.png,a small {name},train"]
    (folder / "rows.csv").write_text("\n".join(rows))
    splits = {"train": "train", "validation": "validation", "test": "test", "transfer": None, "held_out": "held_out"}
    images = {"size": 32, "fit": "pad", "background": [255, 255, 255], "min_side": 2, "max_side": 900,
              "max_pixels": 90_000, "max_bytes": 90_000}  # fmt: skip
    params = params_with(
        ingest={"path": str(folder), "split_column": "split", "splits": splits, "images": images},
        clean={"near_image_bits": 6},
    )
    paths = Paths(tmp_path / "project")
    ingest(params, paths)
    clean(params, paths)
    kept = pq.read_table(paths.clean).to_pylist() + pq.read_table(paths.held_out).to_pylist()
    assert {row["text_pair"]: row["split"] for row in kept} == {
        "the fox": "test", "the cup": "validation", "the ship": "train", "a small ship": "train", "the owl": "train",
        "a small owl": "train", "a small hat": "train",
    }  # fmt: skip
    assert len({row["group"] for row in kept if "ship" in row["text_pair"]}) == 1
    assert json.loads(paths.cleaning_report.read_text())["dropped_by_reason"]["leaked_group"] == 3
