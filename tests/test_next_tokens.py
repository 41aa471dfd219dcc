"""The loss of models that write, their teacher's likeliest tokens, and the rows in which texts are learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

from stages.core.contracts import NO_LABEL, Writing
from stages.tasks.contract import Likeliest, TargetError
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.next_tokens import distilled, likeliest, loss, mean_log_probability, reduced
from stages.tokens.literal import literal
from stages.tokens.writing import learned, prompts
from stages.training.batches import collate
from stages.training.distillation import TeacherAnswers, read_answers, renumbered
from stages.training.likeliest import MeanOf, predict_likeliest
from stages.training.rows import TokenRows
from stages.training.sequences import as_columns, asked_of

V = 7
TARGETS = torch.tensor([[NO_LABEL, 3, 5, NO_LABEL], [NO_LABEL, 1, NO_LABEL, NO_LABEL], [NO_LABEL] * 4])
PLACES = TARGETS != NO_LABEL


def logits(seed: int, *, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(3, 4, V, generator=torch.Generator().manual_seed(seed))


def row_means(of_places: torch.Tensor) -> list[float]:
    """Of two places in the first row and one in the second."""
    return [float(of_places[:2].mean()), float(of_places[2]), 0.0]


def test_the_loss_of_a_row_is_the_mean_over_its_targets_and_0_without_any():
    own = logits(0)
    each = functional.cross_entropy(own[PLACES], TARGETS[PLACES], reduction="none")
    assert loss(own, TARGETS).tolist() == pytest.approx(row_means(each))


def test_log_probabilities_take_one_number_a_place():
    own = logits(0)
    found = reduced(own, TARGETS)
    assert found.shape == (3, 4, 1)
    assert found[1, 1, 0].item() == pytest.approx(torch.log_softmax(own[1, 1], 0)[1].item())
    assert found[~PLACES].abs().sum() == 0
    mean = mean_log_probability([*TARGETS.numpy()], [*found.numpy()])
    assert mean == pytest.approx(-functional.cross_entropy(own[PLACES], TARGETS[PLACES]).item())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_from_all_tokens_is_that_of_the_softened_logits(temperature: float):
    student, teacher = logits(1), logits(2)
    found = distilled(student, likeliest(teacher[PLACES], V), PLACES, temperature=temperature)
    exact = kd_loss(student[PLACES], teacher[PLACES], temperature=temperature)
    assert found.tolist() == pytest.approx(row_means(exact), abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_other_tokens_are_one_class_whose_logit_is_the_log_of_their_sum(temperature: float):
    student, teacher = logits(1)[PLACES], logits(2)[PLACES]
    kept = likeliest(teacher, 2)

    def grouped(values: torch.Tensor) -> torch.Tensor:
        best = kept.tokens
        others = torch.stack([torch.cat([row[i : i + 1] for i in range(V) if i not in own]).logsumexp(0)
                              for row, own in zip(values, best.tolist(), strict=True)])  # fmt: skip
        return torch.cat([values.gather(1, best), others[:, None]], 1)

    exact = kd_loss(grouped(student), grouped(teacher), temperature=temperature)
    found = distilled(logits(1), kept, PLACES, temperature=temperature)
    assert found.tolist() == pytest.approx(row_means(exact), abs=1e-5)


def test_a_student_that_answers_as_its_teacher_has_no_loss_and_no_gradient():
    student = logits(2).requires_grad_()
    found = distilled(student, likeliest(logits(2)[PLACES], 3), PLACES, temperature=4.0)
    found.sum().backward()
    assert found.abs().max() < 1e-6
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_where_a_small_vocabulary_has_no_other_tokens_the_others_do_not_count():
    student = torch.tensor([[[1.0, -1.0]]])
    teacher = Likeliest(
        torch.tensor([[0, 1, 0]]), torch.tensor([[0.5, 0.3, 0.0]]).log(), torch.tensor([0.2]).log()
    )  # of three likely tokens the last is gone
    exact = kd_loss(student[0], torch.tensor([[0.5, 0.3]]).log(), temperature=2.0)
    found = distilled(student, teacher, torch.tensor([[True]]), temperature=2.0)
    assert found.tolist() == pytest.approx(exact.tolist(), abs=1e-6)


def two_rows() -> TokenRows:
    """Two sources in front of their targets."""
    ids, targets = [2, 5, 3, 4, 2, 6, 6, 3], [NO_LABEL, NO_LABEL, 4, 1, NO_LABEL, NO_LABEL, NO_LABEL, 1]
    return TokenRows(
        ["a", "b"], np.array(targets, dtype=np.int32), np.array([0, 4, 8]), np.array(ids, dtype=np.int32),
        per_token=True,
    )  # fmt: skip


class Table(nn.Module):
    """A model whose logits hang on the last token alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = nn.Embedding(V, V)
        with torch.no_grad():
            self.table.weight.copy_(torch.randn(V, V, generator=torch.Generator().manual_seed(seed)))

    def forward(self, input_ids: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.table(input_ids)
        return found


def cached(path: Path, count: int, model: nn.Module | None = None) -> TeacherAnswers:
    found = predict_likeliest(model or Table(0), two_rows(), count=count, pad_id=0, precision="fp32", title="teacher")
    save_file(found, path)
    return read_answers(path, two_rows())


def test_what_is_cached_is_of_the_places_with_a_target_in_half_precision(tmp_path: Path):
    found = cached(tmp_path / "cache", 3).logits
    assert isinstance(found, Likeliest)
    assert [(part.shape, part.dtype) for part in found] == [
        ((3, 3), torch.int32), ((3, 3), torch.float16), ((3,), torch.float16),
    ]  # fmt: skip
    of_target = torch.log_softmax(Table(0).table.weight[3], 0)
    assert found.tokens[2].tolist() == of_target.topk(3).indices.tolist()
    shares = torch.cat([found.log_probabilities[2], found.log_rest[2:]]).float().exp()
    assert shares.sum().item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("rows", [[0, 1], [1, 0], [1]])
def test_a_batch_has_the_answers_of_its_rows_in_their_order(tmp_path: Path, rows: list[int]):
    answers, student = cached(tmp_path / "cache", V), Table(1)
    batch = collate([two_rows()[row] for row in rows], pad_id=0)
    kept = answers.logits_of(np.array(rows), 4)
    assert isinstance(kept, Likeliest)
    own, theirs = (model(batch["input_ids"], None) for model in (student, Table(0)))
    places = batch["labels"] != NO_LABEL
    exact = kd_loss(own[places], theirs[places], temperature=2.0)
    found = distilled(own, kept, places, temperature=2.0)
    counts = places.sum(1)
    assert (found * counts).sum().item() == pytest.approx(exact.sum().item(), rel=5e-3)


def test_answers_to_other_rows_are_refused(tmp_path: Path):
    cached(tmp_path / "cache", 2)
    with pytest.raises(ValueError, match=r"3 tokens for 6 of the training rows. Run cache_logits again"):
        read_answers(tmp_path / "cache", two_rows().and_rows(two_rows()))


def test_several_teachers_are_asked_as_one_by_the_mean_of_their_logits(tmp_path: Path):
    both = MeanOf([Table(0), Table(3)])
    found = cached(tmp_path / "cache", 1, both).logits
    mean = torch.log_softmax((Table(0).table.weight[3] + Table(3).table.weight[3]) / 2, 0)
    assert isinstance(found, Likeliest)
    assert found.log_probabilities[2, 0].item() == pytest.approx(mean.max().item(), abs=2e-3)


@pytest.mark.parametrize("count", [3, V])
def test_tokens_that_the_pruned_vocabulary_lacks_are_among_the_others(tmp_path: Path, count: int):
    answers, kept = cached(tmp_path / "cache", count), [6, 1, 2, 3, 4, 5]  # all but 0
    fewer = renumbered(answers, kept)
    assert fewer.rows[1]["input_ids"].tolist() == [2, 0, 0, 3]
    assert fewer.rows[0]["target"].tolist() == [NO_LABEL, NO_LABEL, 4, 1]
    given = fewer.logits_of(np.array([0, 1]), 4)
    assert isinstance(given, Likeliest)
    shares = given.log_probabilities.exp().sum(1) + given.log_rest.exp()
    assert shares.tolist() == pytest.approx([1] * 3, abs=4e-3)
    teacher = Table(0).table.weight[[3, 4, 3]]  # the last token at each place
    gone = torch.softmax(teacher, 1)[:, 0]
    in_best = (teacher.topk(count).indices == 0).any(1)
    lost = [share.item() for share, there in zip(gone, in_best, strict=True) if there]
    before = answers.logits_of(np.array([0, 1]), 4)
    assert isinstance(before, Likeliest)
    more = (given.log_rest.exp() - before.log_rest.exp())[in_best].tolist()
    assert more == pytest.approx(lost, abs=4e-3)
    student = torch.randn(2, 4, len(kept), requires_grad=True)
    places = torch.tensor([[False, False, True, True], [False, False, False, True]])
    found = distilled(student, given, places, temperature=4.0)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def apart() -> TokenRows:
    """Two sources that are read apart, the second without a target."""
    ids, targets = [5, 1, 0, 4, 6, 6, 1, 0], [NO_LABEL, NO_LABEL, 4, 1, *[NO_LABEL] * 4]
    return TokenRows(
        ["a", "b"], np.array(targets, dtype=np.int32), np.array([0, 4, 8]), np.array(ids, dtype=np.int32),
        np.array([2, 3], dtype=np.int32), per_token=True, decoded=True,
    )  # fmt: skip


def test_a_source_that_is_read_apart_is_a_batch_beside_that_of_what_is_written():
    batch = collate([apart()[0], apart()[1]], pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 1, 0], [6, 6, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["decoder_input_ids"].tolist() == [[0, 4], [0, 0]]
    assert batch["labels"].tolist() == [[4, 1], [NO_LABEL, NO_LABEL]]
    assert apart().n_targets.tolist() == [2, 0]
    assert apart().places_of_outputs([0, 1]).tolist() == [2, 3, 7]


@pytest.mark.parametrize("rows", [two_rows, apart])
def test_what_a_teacher_writes_becomes_rows_like_those_of_the_data(tmp_path: Path, rows: Callable[[], TokenRows]):
    own = rows()
    asked = asked_of(own)
    written = [[4, 4, 1], [1]]
    columns = as_columns(asked, written)
    both = own.and_written(**columns)
    first, second = both[2], both[3]
    assert first["input_ids"].tolist() == [*(asked[0].source or []), *asked[0].ids, 4, 4]
    assert first["target"].tolist()[-3:] == [4, 4, 1]
    assert second["target"].tolist() == [*[NO_LABEL] * (len(second["target"]) - 1), 1]
    assert both.n_targets.tolist() == [*own.n_targets.tolist(), 3, 1]
    places = int(both.n_targets.sum())
    kept: dict[str, np.ndarray] = {
        "tokens": np.zeros((places, 1), np.int32), "log_probabilities": np.zeros((places, 1), np.float16),
        "log_rest": np.zeros(places, np.float16),
    }  # fmt: skip
    save_file({**kept, **columns}, tmp_path / "cache")
    answered = read_answers(tmp_path / "cache", own).rows
    assert [answered[at]["input_ids"].tolist() for at in range(4)] == [
        both[at]["input_ids"].tolist() for at in range(4)
    ]


@pytest.fixture(scope="module")
def reader() -> Tokenizer:
    """Bytes, and some of their pairs; the token 0 ends a text."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine.train_from_iterator(
        ["abc abc"], trainers.BpeTrainer(vocab_size=258, special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    return literal(engine)


BEFORE = Writing(0, 0, (9,), "to: ", "before", 8)


def test_a_target_stands_behind_its_source_and_alone_is_learned(reader: Tokenizer):
    found = learned(["xy", None], ["p", "q"], reader, BEFORE, max_tokens=32, characters=True)
    source, target = (reader.encode(text, add_special_tokens=False).ids for text in ("to: p", "xy"))
    assert found.input_ids[0] == [0, *source, 9, *target]
    assert found.labels[0] == [*[NO_LABEL] * (len(source) + 1), *target, 0]
    assert found.places[0][-3:] == [(0, 1), (1, 2), (2, 2)]
    assert set(found.labels[1]) == {NO_LABEL}
    assert prompts(["p"], reader, BEFORE, max_tokens=32)[0].ids == [0, *source, 9]


def test_a_long_source_is_cut_at_its_end_and_its_target_is_not(reader: Tokenizer):
    found = learned(["xyz", "x"], ["p" * 50, "p" * 50], reader, BEFORE, max_tokens=20)
    assert [len(ids) for ids in found.input_ids] == [12 + 3, 12 + 1], "20 less 8 for the target"
    assert found.full_lengths == [20 + 44, 20 + 44], "44 of 54 tokens have no room"
    apart = learned(["xyz"], ["p" * 50], reader, BEFORE._replace(source="apart"), max_tokens=20)
    assert apart.begins == [20]
    assert apart.input_ids[0][19:] == [0, 0, *reader.encode("xyz").ids]
    assert apart.labels[0][20:] == [*reader.encode("xyz").ids, 0]


def test_a_target_without_room_is_refused_with_its_row(reader: Tokenizer):
    with pytest.raises(TargetError, match=r"its target has 12 tokens, its end included. Allowed: 11") as error:
        learned(["x" * 10, "x" * 11], ["p", "p"], reader, BEFORE, max_tokens=14)
    assert error.value.row == 1


def test_a_target_that_a_smaller_vocabulary_makes_longer_takes_of_its_sources_room(reader: Tokenizer):
    found = learned(["x" * 8], ["pqr"], reader, BEFORE, max_tokens=16)
    source, target = (reader.encode(text, add_special_tokens=False).ids for text in ("to: pqr", "x" * 8))
    assert found.input_ids == [[0, *source[:5], 9, *target]], "6 tokens less the one that 9 are more than 8"
    assert len(found.input_ids[0]) < 16
    assert found.full_lengths == [16 + len(source) - 5]
    apart = learned(["x" * 8], ["pqr"], reader, BEFORE._replace(source="apart"), max_tokens=16)
    assert apart.input_ids == [[*source, 0, 0, *target]]


def test_no_room_for_a_source_says_how_much_there_must_be(reader: Tokenizer):
    with pytest.raises(ValueError, match=r"tokenize.max_tokens is 10, .* Allowed: 11 or more"):
        learned(["x"], ["p"], reader, BEFORE, max_tokens=10)


@pytest.mark.parametrize("stride", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 4, 5, 6, 12, 13, 14])
def test_windows_learn_each_token_of_a_text_once(reader: Tokenizer, length: int, stride: int):
    text = "".join(chr(65 + at) for at in range(length))
    alone = Writing(0, 0, (), "", None, 8)
    found = learned([text], None, reader, alone, max_tokens=6, stride=stride, characters=True)
    whole = [0, *reader.encode(text).ids, 0]
    read = {}
    for ids, labels in zip(found.input_ids, found.labels, strict=True):
        begin = next(at for at in range(len(whole)) if whole[at : at + len(ids)] == ids)
        assert len(ids) == len(labels) <= 6
        for at, label in enumerate(labels, start=begin + 1):
            if label != NO_LABEL:
                assert at not in read
                read[at] = label
    assert read == dict(enumerate(whole[1:], start=1))
    assert [length for length in found.full_lengths if length] == [len(whole) - 1]
    spans = [place for own, labels in zip(found.places, found.labels, strict=True)
             for place, label in zip(own, labels, strict=True) if label != NO_LABEL]  # fmt: skip
    assert spans == [*((at, at + 1) for at in range(length)), (length, length)]


def test_the_name_of_a_special_token_in_a_text_is_text(reader: Tokenizer):
    found = learned(["a<end>b"], None, reader, Writing(0, 0, (), "", None, 8), max_tokens=32)
    assert found.input_ids[0].count(0) == 1
    assert reader.decode(found.input_ids[0][1:], skip_special_tokens=False) == "a<end>b"


def test_the_mass_of_the_others_is_never_no_number(tmp_path: Path):
    with torch.no_grad():
        sure = Table(0)
        sure.table.weight[3] = torch.tensor([100.0, *[0.0] * (V - 1)])
    found = cached(tmp_path / "cache", 1, sure).logits
    assert isinstance(found, Likeliest)
    assert found.log_rest.float().min().item() >= -60 > -math.inf
