"""Tasks that write: floors, int8, evaluation, comparison and costs, of tiny models from scratch (written_run.py)."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import warm_python
from conftest import REPOSITORY
from sacrebleu.metrics import BLEU, CHRF
from writing_run import params_of

from flows.review import metrics
from stages.backends.runners import open_runner
from stages.compare import CONTRASTS
from stages.core.contracts import Generation
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.core.paths import MODELS, Paths
from stages.measures import writing_speed
from stages.measures.opened import Opened
from stages.measures.robustness import _scores
from stages.tasks.shared.left_out import OF_WRITING
from stages.tasks.text_generation.answers import ANSWERS as OF_TEXTS
from stages.tasks.text_generation.measures import MEASURES as MEASURES_OF_TEXTS
from stages.tasks.text_generation.scores import size

HAS = [name for name in MODELS if name not in OF_WRITING]
GREEDY = {
    "beams": 1, "length_penalty": 1.0, "max_new_tokens": 24, "repetition_penalty": 1.0, "seed": 0, "stop": [],
    "temperature": 0.0, "top_k": 0, "top_p": 1.0,
}  # fmt: skip


def run(folder: Path, *case: str) -> Paths:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/written_run.py"), str(folder), *case],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Paths(folder)


@pytest.fixture(scope="module")
def of_targets(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Text to text, of a T5 with pruned heads."""
    return run(tmp_path_factory.mktemp("targets"), "text2text_generation", "t5")


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Texts alone, of a GPT-2."""
    return run(tmp_path_factory.mktemp("texts"), "text_generation", "gpt2")


def quality(paths: Paths, model: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(paths.quality(model))
    return found


def answered(paths: Paths, model: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(paths.predictions(model)).to_pydict()
    return found


@pytest.mark.parametrize("model", HAS)
def test_bleu_and_chrf_are_those_that_sacrebleu_gives_for_the_predictions(of_targets: Paths, model: str) -> None:
    rows, found = answered(of_targets, model), quality(of_targets, model)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        assert found[name] == round(metric.corpus_score(rows["answer"], [rows["truth"]]).score / 100, 6)
        assert found["signatures"][name] == str(metric.get_signature())
        assert found["intervals"][name]["low"] <= found[name] <= found["intervals"][name]["high"]
    assert found["exact_match"] == round(sum(map(str.__eq__, rows["answer"], rows["truth"])) / len(rows["truth"]), 6)


def test_bits_a_byte_are_the_nats_of_the_predictions(of_targets: Paths, of_texts: Paths) -> None:
    for paths in (of_targets, of_texts):
        rows = answered(paths, "quantized")
        sizes = [int(truth.split()[0]) if paths is of_texts else len(truth.encode()) for truth in rows["truth"]]
        bits = sum(rows["nats"]) / 0.6931471805599453 / sum(sizes)
        assert quality(paths, "quantized")["bits_per_byte"] == pytest.approx(bits, abs=1e-4)


def test_the_generation_stands_beside_every_figure_of_a_model_that_writes(of_targets: Paths, of_texts: Paths) -> None:
    for paths in (of_targets, of_texts):
        for model in HAS:
            assert quality(paths, model).get("generation") == (None if model == "baseline" else GREEDY)
        assert read_json(paths.quantization)["generation"] == GREEDY
        assert {model for model in HAS if "generation" in describe(paths.model(model))} == {"quantized"}


@pytest.mark.parametrize("model", OF_WRITING)
def test_what_the_task_has_no_model_for_is_left_out_with_the_reason(of_targets: Paths, model: str) -> None:
    reason = OF_WRITING[model]
    assert describe(of_targets.model(model))["left_out"] == reason
    assert quality(of_targets, model) == read_json(of_targets.profile(model)) == {"left_out": reason}
    assert answered(of_targets, model)["row_id"] == []
    assert [path.name for path in of_targets.tables(model).iterdir()] == ["left_out.csv"]
    with pytest.raises(ValueError, match=f"has no such model: {reason}"):
        open_runner(of_targets.model(model), threads=1)


def test_the_comparison_has_the_models_that_are_there(of_targets: Paths, of_texts: Paths) -> None:
    expected = {f"{one}_and_{other}" for one, other in CONTRASTS if {one, other} <= {*HAS}}
    for paths in (of_targets, of_texts):
        assert read_json(paths.comparison).keys() == expected
    found = read_json(of_targets.comparison)["quantized_and_pruned"]
    assert found["agreement"] <= found["similarity"] <= 1
    assert "similarity" not in read_json(of_texts.comparison)["quantized_and_pruned"]


def test_a_changed_source_is_judged_by_how_alike_the_texts_are(of_targets: Paths) -> None:
    found = quality(of_targets, "baseline")
    assert found["robustness"]["zero_width"] | {"score": 0} == {
        "rows": 4, "flip_rate": 0.0, "similarity": 1.0, "score": 0,
    }  # fmt: skip
    assert 0 < found["robustness"]["typos"]["similarity"] < 1
    # The words are swapped in both, so the dictionary writes the same but for them.
    swaps = found["fairness"]["identity_swaps"]
    assert swaps | {"high": 0} == {
        "rows": 4, "flip_rate": 0.0, "similarity": 1.0, "low": 0.0, "high": 0, "mean_change": None,
    }  # fmt: skip
    assert 0.4 < swaps["high"] < 0.6  # of four rows little is known


def test_a_changed_text_is_another_text_and_nothing_flips(of_texts: Paths) -> None:
    found = quality(of_texts, "quantized")
    assert found["robustness"]["typos"].keys() == {"rows", "flip_rate", "score"}
    assert found["robustness"]["typos"]["flip_rate"] is None
    assert 0 < found["robustness"]["upper_case"]["score"] < found["slices"]["length"]["short"]["score"]
    assert found["fairness"]["identity_swaps"]["flip_rate"] is None
    assert found["fairness"]["identity_swaps"]["mean_change"] > 0


def test_a_text_of_which_cleaning_leaves_the_same_has_the_same_score(of_texts: Paths) -> None:
    runner = open_runner(of_texts.model("quantized"), threads=1)
    cleaning = dataclasses.replace(runner, clean=lambda text: text.replace("\u200b", ""))
    model = Opened(cleaning, OF_TEXTS, MEASURES_OF_TEXTS)
    texts = ["the ship is in the harbour of the island", "bread and butter on a plate"]
    judged = model.judge(texts, [size(text) for text in texts], units=texts, seed=1, columns={})
    changed = list(enumerate("\u200b".join(text) for text in texts))
    answers = model.ask([model.runner.clean(text) for _, text in changed]).answers
    assert _scores(judged, model, changed, answers) == pytest.approx(judged.scores_N)


def test_texts_that_ran_into_the_limit_are_counted(of_targets: Paths) -> None:
    runner = open_runner(of_targets.model("quantized"), threads=1)
    texts = pq.read_table(of_targets.clean).filter(pc.field("split") == "test")["text"].to_pylist()
    offsets = runner.predict(texts).offsets
    assert offsets is not None
    full = sum(end - start >= 24 for start, end in itertools.pairwise(offsets))
    assert quality(of_targets, "quantized")["full_length"] == round(full / len(texts), 6)
    assert "full_length" not in quality(of_targets, "baseline")


def test_continuations_are_counted_of_models_that_write_on(of_texts: Paths, of_targets: Paths) -> None:
    found = quality(of_texts, "quantized")["continuations"]
    assert found["rows"] == 4
    assert 0 <= found["repetition"] <= 1
    assert found["characters"] > 0
    assert "continuations" not in quality(of_texts, "baseline")
    assert "continuations" not in quality(of_targets, "quantized")


def test_int8_is_judged_by_the_likelihood_of_targets_and_its_texts_are_compared(of_targets: Paths) -> None:
    found = read_json(of_targets.quantization)
    assert found["measure"] == "bits_per_byte"
    assert found["lost"] == pytest.approx(found["float32"] - found["int8"], abs=2e-6)
    assert found["agreement"] > 0.8
    assert found["written"]["rows"] == 9
    assert found["written"]["chrf"].keys() == {"float32", "int8"}
    card = (of_targets.model("quantized") / "README.md").read_text()
    assert f"bits_per_byte {abs(found['int8']):.4f}" in card
    assert "max_new_tokens 24" in card


def test_the_table_of_models_has_no_row_for_those_left_out(of_targets: Paths) -> None:
    text = (REPOSITORY / "params.yaml").read_text()
    text = text.replace("text_classification", "text2text_generation", 1).replace("measure: macro_f1", "measure: chrf")
    (of_targets.root / "params.yaml").write_text(text)
    table = metrics.rows(of_targets.root)
    assert [row.model for row in table] == HAS
    assert metrics.header(table)[1:7] == ("exact match", "ROUGE-L", "ROUGE-2", "ROUGE-1", "BLEU", "chrF")


def test_few_texts_are_written_for_the_speed_of_writing_however_many_rows_are_timed(
    of_texts: Paths, tmp_path: Path
) -> None:
    profile = params_of(tmp_path, "text_generation", "gpt2").profile.model_copy(
        update={"throughput_rows": 100, "batch_size": 8}
    )
    runner, asked = open_runner(of_texts.model("quantized"), threads=1), list[int]()
    write = runner.write
    assert write is not None

    def counting(texts: Sequence[str], how: Generation) -> list[str]:
        asked.append(len(texts))
        return write(texts, how)

    counted = dataclasses.replace(runner, write=counting)
    found = writing_speed.measure(counted, ["die Katze", "der Hund"] * 50, Generation(max_new_tokens=4), profile)
    assert asked == [*[1] * writing_speed.SINGLES, 8]
    assert found.keys() == {"tokens_per_s", "tokens_per_s_batch", "first_text_ms"}
    assert min(found.values()) > 0
    assert writing_speed.measure(open_runner(of_texts.model("baseline"), threads=1), [], Generation(4), profile) == {}
