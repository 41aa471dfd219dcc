from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from stages.core.params.distill import LossWeights
from stages.core.params.file import Params, load_params
from stages.core.params.mistakes import explained
from stages.core.params.values import Section

GOOD = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def message(tmp_path: Path) -> Callable[..., str]:
    """message(key, value): what load_params says when that key has that value."""

    def get(dotted: str, value: Any = "__deleted__") -> str:
        values = copy.deepcopy(GOOD)
        *sections, key = dotted.split(".")
        section = values
        for part in sections:
            section = section[part]
        if value == "__deleted__":
            del section[key]
        else:
            section[key] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        with pytest.raises(ValueError) as error:
            load_params(tmp_path / "params.yaml")
        return str(error.value)

    return get


def test_the_repositorys_own_params_are_valid() -> None:
    assert load_params(REPOSITORY / "params.yaml").distill.temperature == 4.0


def test_no_parameter_has_a_default() -> None:
    def fields(section: type[Section]):
        for name, field in section.model_fields.items():
            yield f"{section.__name__}.{name}", field
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                yield from fields(field.annotation)

    assert [name for name, field in fields(Params) if not field.is_required()] == []


def test_every_line_of_params_yaml_with_a_value_says_what_it_is() -> None:
    lines = (REPOSITORY / "params.yaml").read_text(encoding="utf-8").splitlines()
    keyed = [line for line in lines if line.strip() and not line.lstrip().startswith("#") and not line.endswith(":")]
    training = yaml.safe_load("\n".join(lines))["finetune"]
    uncommented = [line.strip().split(":")[0] for line in keyed if " # " not in line]
    assert [key for key in uncommented if key not in training] == []


def test_a_wrong_choice_names_key_found_allowed_and_the_nearest(message: Callable[..., str]) -> None:
    assert message("finetune.precision", "fp61") == (
        "params.yaml: finetune.precision is 'fp61'. Allowed: auto, fp16, bf16, fp32. Did you mean 'fp16'?"
    )


def test_an_unknown_key_is_named_with_the_nearest(message: Callable[..., str]) -> None:
    assert message("distill.temprature", 2.0).startswith("params.yaml: distill.temprature is not a parameter.")
    assert message("distill.temprature", 2.0).endswith("Did you mean 'temperature'?")


def test_what_is_no_description_of_a_label_is_named_with_its_label(message: Callable[..., str]) -> None:
    key = "params.yaml: finetune.descriptions"
    assert message("finetune.descriptions", {"refund": 3}) == f"{key}.refund is 3. Allowed: a text."
    assert message("finetune.descriptions", None) == f"{key} is null. Allowed: lines of 'name: text', or {{}}."


def test_sections_that_may_be_null_name_what_is_allowed_too(message: Callable[..., str]) -> None:
    lora = {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": None}
    assert message("finetune.lora", {**lora, "ranks": 8}) == (
        "params.yaml: finetune.lora.ranks is not a parameter. Allowed here: rank, alpha, dropout, targets. Did you mean"
        " 'rank'?"
    )
    shape = {"kind": "gpt3", "layers": 1, "width": 8, "heads": 1, "feed_forward": 8, "positions": 8}
    assert message("model.scratch", shape).startswith("params.yaml: model.scratch.kind is 'gpt3'. Allowed: gpt2, llama")


def test_an_unknown_loss_is_named_with_the_nearest(message: Callable[..., str]) -> None:
    assert message("distill.losses.value_relation", 0.1) == (
        "params.yaml: distill.losses.value_relation is not a parameter. Allowed here: logits, labels, hidden,"
        " embeddings, attention_relations, value_relations. Did you mean 'value_relations'?"
    )
    assert message("distill.losses.hidden").startswith("params.yaml: distill.losses.hidden is missing.")
    assert message("distill.losses.hidden", -0.1) == "params.yaml: distill.losses.hidden is -0.1. Allowed: 0.0 or more."


def test_losses_without_one_that_trains_the_head_are_refused(message: Callable[..., str]) -> None:
    weights = {**dict.fromkeys(LossWeights.model_fields, 1.0), "logits": 0.0, "labels": 0.0}
    assert "neither logits nor labels above 0" in message("distill.losses", weights)


def test_a_recurrent_student_is_refused_losses_on_inner_vectors(message: Callable[..., str]) -> None:
    student = {**GOOD["distill"], "family": "bilstm"}
    assert message("distill", {**student, "losses": {**student["losses"], "hidden": 0.5}}) == (
        "params.yaml: distill: losses.hidden is 0.5. Allowed with family 'bilstm': 0.0, as nothing in it corresponds to"
        " the teacher's inner vectors."
    )


def test_a_recurrent_student_is_refused_a_width_of_layers(message: Callable[..., str]) -> None:
    said = message("distill", {**GOOD["distill"], "family": "bilstm", "hidden_size": 256})
    assert said.endswith(
        "hidden_size is 256. Allowed with family 'bilstm': null. Its width is a value of the section bilstm."
    )


@pytest.mark.parametrize("name", ["hidden", "embeddings"])
def test_losses_on_vectors_of_one_width_are_refused_for_a_student_of_another(
    message: Callable[..., str], name: str
) -> None:
    distill = GOOD["distill"]
    said = message("distill", {**distill, "hidden_size": 256, "losses": {**distill["losses"], name: 0.5}})
    assert said.startswith(
        f"params.yaml: distill: losses.{name} is 0.5 and hidden_size 256. Allowed with a hidden_size: 0.0,"
    )
    assert said.endswith("or set hidden_size to null.")


@pytest.mark.parametrize(
    ("column", "was"), [("text", "text_column"), ("text_pair", "text_pair_column"), ("label", "label_column")]
)
def test_a_column_under_its_earlier_name_is_told_once_with_the_one_that_it_has_now(
    tmp_path: Path, column: str, was: str
) -> None:
    values = copy.deepcopy(GOOD)
    del values["ingest"]["columns"]
    values["ingest"][was] = "review"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(error.value) == (
        f"params.yaml: ingest.{was} is called ingest.columns.{column} now. Write 'review' there, and take this line"
        " out."
    )


def test_the_measure_of_promotion_is_told_to_be_the_tasks() -> None:
    (line,) = explained([mistake("extra_forbidden", ("promotion", "measure"), "recall")], Params)
    assert line == "promotion.measure is called task.measure now. Write 'recall' there, and take this line out."


def test_a_task_that_is_a_name_alone_is_told_the_form_that_it_has_now(message: Callable[..., str]) -> None:
    assert message("task", "text_classification") == (
        "params.yaml: task is 'text_classification'. It has two lines now: task: {name: text_classification,"
        " measure: ...}."
    )


@pytest.mark.parametrize("stage", ["finetune", "distill"])
def test_an_epoch_that_is_chosen_by_the_name_of_a_measure_is_told_who_names_it_now(stage: str) -> None:
    (line,) = explained([mistake("literal_error", (stage, "select_by"), "accuracy")], Params)
    assert line == (f"{stage}.select_by is 'accuracy'. Allowed: best, last. With best, task.measure names the measure.")


def mistake(kind: str, place: tuple[str, ...], found: Any) -> dict[str, Any]:
    """A mistake as pydantic tells it."""
    return {"type": kind, "loc": place, "input": found, "msg": ""}


def test_a_missing_key_is_named(message: Callable[..., str]) -> None:
    assert message("finetune.epochs").startswith("params.yaml: finetune.epochs is missing.")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("finetune.epochs", 0, "finetune.epochs is 0. Allowed: 1 or more."),
        ("finetune.epochs", "3", "finetune.epochs is '3'. Allowed: a whole number. Leave out the quotes."),
        ("finetune.freeze_embeddings", 1, "finetune.freeze_embeddings is 1. Allowed: true or false."),
        ("finetune.encoder_learning_rate", "0.1", "is '0.1'. Allowed: a number. Leave out the quotes."),
        ("finetune.encoder_learning_rate", "fast", "is 'fast'. Allowed: a number."),
        ("finetune.encoder_learning_rate", float("nan"), "Allowed: a finite number."),
        ("clean.test_fraction", 1.0, "clean.test_fraction is 1.0. Allowed: less than 1."),
        ("clean.test_fraction", 0.95, "nothing is left for training"),
        ("distill.teacher_layers", [], "Allowed: at least 1 entries."),
        ("distill.hidden_size", 0.67, "distill.hidden_size is 0.67. Allowed: a whole number"),
        ("ingest.hub.dataset", "someone/something", "needs its commit"),
        ("ingest.encoding", "utf-88", "ingest.encoding: 'utf-88' is no encoding. Allowed: auto, or a codec"),
        ("ingest.encoding", "rot13", "'rot13' is no encoding"),
        ("ingest.max_row_chars", 10, "ingest.max_row_chars is 10. Allowed: 1000 or more."),
        ("ingest.splits.test", "train", "ingest.splits: two splits have the same name"),
        ("promotion.confidence", 0.5, "promotion.confidence is 0.5. Allowed: more than 0.5."),
        ("evaluate.identity_swaps", [["he", "she"], ["He", "they"]], "has 'he' more than once"),
        ("evaluate.identity_swaps", [["he"]], "identity_swaps[0] is ['he']. Allowed: at least 2 entries."),
        ("evaluate.identity_swaps", "gender_eng", "origin_en, sexuality_en. Did you mean 'gender_en'?"),
        ("evaluate.identity_swaps", ["gender_en", "gender_en"], "has the list 'gender_en' more than once"),
        ("evaluate.identity_swaps", ["religion"], "identity_swaps[0] is 'religion'. Allowed: gender_en, names_en"),
        ("evaluate.templates", ["He is angry."], "templates has 'He is angry.'. Allowed: a text with {}"),
        ("debias.method", "dro", "debias.method is 'dro'. Allowed: none, counterfactual, reweighing"),
        ("debias.method", "worst_group", "method is 'worst_group', and group_column null"),
        ("clean", None, "clean is null. Allowed: a section"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(message: Callable[..., str], key: str, value: Any, allowed: str) -> None:
    assert allowed in message(key, value)
    assert len(message(key, value).splitlines()) == 1


def test_each_mistake_has_its_line(tmp_path: Path) -> None:
    values = copy.deepcopy(GOOD)
    values["finetune"]["epochs"] = 0
    values["seed"] = -1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"seed is -1.*\n.*finetune\.epochs is 0"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("value", ["x; touch y", "$(touch y)", "a\nb", "`x`", "a|b", "a>b"])
def test_shell_text_is_no_path(message: Callable[..., str], value: str) -> None:
    assert "ingest.path" in message("ingest.path", value)


@pytest.mark.parametrize("value", ["../x", "os:system", "A", "x;y", ""])
def test_a_plugin_name_is_a_plain_word(message: Callable[..., str], value: str) -> None:
    assert "task" in message("task", value)


def test_text_that_is_not_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\ntask: [1,\nclean: {\n")
    with pytest.raises(ValueError, match=r"params\.yaml, line \d+, column \d+: not YAML"):
        load_params(tmp_path / "params.yaml")


def changed(folder: Path, before: str, after: str) -> Path:
    """params.yaml with one line otherwise."""
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    (folder / "params.yaml").write_text(text.replace(before, after), encoding="utf-8")
    return folder / "params.yaml"


@pytest.mark.parametrize(("written", "read"), [("5e-05", 0.00005), ("5e-5", 0.00005), ("1E-3", 0.001), ("1e0", 1.0)])
def test_numbers_are_read_as_dvc_writes_them(tmp_path: Path, written: str, read: float) -> None:
    path = changed(tmp_path, "encoder_learning_rate: 3.0e-4 ", f"encoder_learning_rate: {written} ")
    assert load_params(path).finetune.encoder_learning_rate == read


def test_words_that_yaml_of_2005_took_for_booleans_are_texts(tmp_path: Path) -> None:
    found = load_params(changed(tmp_path, "  labels: null", "  labels: [no, on, yes, off, n, y]"))
    assert found.validate_.labels == ["no", "on", "yes", "off", "n", "y"]


def test_a_number_that_begins_with_a_zero_is_the_one_that_dvc_reads(tmp_path: Path) -> None:
    from dvc.utils.serialize import load_yaml

    path = changed(tmp_path, "\nseed: 20 ", "\nseed: 020 ")
    assert load_params(path).seed == load_yaml(path)["seed"] == 20


def test_equal_keys_are_refused_with_the_line_of_the_second(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\nclean:\n  min_chars: 3  # mine\n  min_chars: 10\n")
    with pytest.raises(ValueError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(error.value) == (
        "params.yaml, line 4: the key 'min_chars' is here a second time. Keep one of the two lines."
    )


@pytest.mark.parametrize("indent", ["", "  "])
def test_conflict_markers_are_told_as_what_they_are(tmp_path: Path, indent: str) -> None:
    sides = f"<<<<<<< HEAD\n{indent}min_chars: 3\n=======\n{indent}min_chars: 9\n>>>>>>> other\n"
    (tmp_path / "params.yaml").write_text(f"seed: 1\nclean:\n{sides}")
    with pytest.raises(ValueError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(error.value) == (
        "params.yaml, line 3: a merge conflict ('<<<<<<< HEAD'). Keep one side of it, and delete the lines that begin "
        "with <<<<<<<, ======= and >>>>>>>."
    )


def test_a_value_that_does_not_fit_its_tag_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: !!bool maybe\n")
    with pytest.raises(ValueError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(error.value) == "params.yaml: not YAML: 'maybe' is no value of the type that its tag (!!) names."


def test_keys_that_are_no_texts_are_named(tmp_path: Path) -> None:
    path = changed(tmp_path, "\nseed: 20 ", "\n20: seed\nseed: 20 ")
    with pytest.raises(ValueError, match=r"params\.yaml: .*20"):
        load_params(path)


def test_python_objects_in_yaml_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    (tmp_path / "params.yaml").write_text(f"seed: !!python/object/apply:os.system ['touch {target}']\n")
    with pytest.raises(ValueError, match="not YAML"):
        load_params(tmp_path / "params.yaml")
    assert not target.exists()


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(("path", "outside"), [("data/rows.csv", False), ("/data/rows.csv", True), ("s3://b/r", True)])
def test_data_outside_the_project_are_absolute_paths_and_urls(path: str, outside: bool) -> None:
    ingest = load_params(REPOSITORY / "params.yaml").ingest
    assert ingest.model_copy(update={"path": path}).is_outside is outside
