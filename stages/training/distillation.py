"""Distillation: losses that are summed by their weights, and the teacher's answers that they need."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional

from stages.core.contracts import NO_LABEL, Taps, Units
from stages.core.params.distill import VECTORS_OF_LOSSES
from stages.tasks.contract import Likeliest, TaskLearning
from stages.training.loop import Loss
from stages.training.rows import TokenRows
from stages.training.vectors import Vectors, caught, padded
from stages.training.whole_batch import mean_of_rows, of_each


@dataclass(frozen=True)
class Matched:
    """The outputs of a student and its teacher for one batch: B examples, T tokens, K numbers of an output."""

    task: TaskLearning
    student_logits: torch.Tensor
    teacher_logits: torch.Tensor | Likeliest
    """(B, K) both, or (B, T, K); of rows whose two texts are read apart (B, 2, K).

    Of a task that writes, the teacher's likeliest tokens at the places with a target, row after row."""
    targets: torch.Tensor
    """(B,), (B, C), or (B, T)."""
    mask_BT: torch.Tensor
    """1 for tokens, 0 for padding."""
    student: Vectors
    teacher: Vectors
    """By the student's layer, as `values.0`, like the student's vectors."""
    temperature: float
    heads: int
    """The number of parts into which vectors are split for their relations."""
    counted_B: torch.Tensor | None = None
    weights_B: torch.Tensor | None = None
    """Both as `one_step` of the training loop gives them."""

    def of(self, kind: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The student's and the teacher's vectors of a kind, a pair for each layer."""
        return [(self.student[name], self.teacher[name]) for name in self.student if name.partition(".")[0] == kind]


@dataclass(frozen=True)
class DistillationLoss:
    """One loss. loss(matched): a scalar, the mean over the examples; of an example, over its tokens."""

    vectors: tuple[str, ...]
    """The kinds of the teacher's vectors that it needs, beyond the logits."""
    loss: Callable[[Matched], torch.Tensor]


def _logits(matched: Matched) -> torch.Tensor:
    """How far the student's answers are from the teacher's, by the task."""
    one, other, mask_BT = matched.student_logits, matched.teacher_logits, matched.mask_BT
    if isinstance(other, Likeliest):
        places_BT = matched.targets != NO_LABEL
        each_B = matched.task.distilled(one, other, places_BT, temperature=matched.temperature)
        return mean_of_rows(each_B, matched.weights_B)

    def distance(*both: torch.Tensor) -> torch.Tensor:
        return matched.task.distilled(*both, mask_BT, temperature=matched.temperature)

    return mean_of_rows(of_each(matched.task, distance, one, other, counted_B=matched.counted_B), matched.weights_B)


def _labels(matched: Matched) -> torch.Tensor:
    """The task's own loss; rows without a target add 0."""
    task, own = matched.task, (matched.student_logits, matched.targets)
    return mean_of_rows(of_each(task, task.loss, *own, counted_B=matched.counted_B), matched.weights_B)


def _same_vectors(kind: str) -> Callable[[Matched], torch.Tensor]:
    """The mean square of the differences, over an example's real tokens, and over the examples.

    Jiao et al. 2020 (TinyBERT), arXiv:1909.10351.
    """

    def loss(matched: Matched) -> torch.Tensor:
        parts = []
        for student_BTX, teacher_BTX in matched.of(kind):
            if student_BTX.shape != teacher_BTX.shape:
                raise ValueError(
                    f"params.yaml: distill.losses has {kind}, and the student's vectors have a width of"
                    f" {student_BTX.shape[-1]}, the teacher's {teacher_BTX.shape[-1]}. Take attention_relations and"
                    " value_relations for a narrower student."
                )
            squares_BT = (student_BTX.float() - teacher_BTX).square().mean(-1)
            parts.append(over_tokens(squares_BT, matched.mask_BT, matched.weights_B))
        return torch.stack(parts).mean()

    return loss


def _relations(first: str, second: str) -> Callable[[Matched], torch.Tensor]:
    """KL(teacher || student) of softmax(first second^T / sqrt(d)), the mean over layers, heads, real tokens, examples.

    Wang et al. 2020 (MiniLM), arXiv:2002.10957, and 2021 (MiniLMv2), arXiv:2012.15828.
    """

    def loss(matched: Matched) -> torch.Tensor:
        parts = []
        for (student_a, teacher_a), (student_b, teacher_b) in zip(matched.of(first), matched.of(second), strict=True):
            student_log = relation(student_a, student_b, matched.mask_BT, heads=matched.heads)
            teacher_log = relation(teacher_a, teacher_b, matched.mask_BT, heads=matched.heads)
            divergence_BHT = (teacher_log.exp() * (teacher_log - student_log)).sum(-1)
            parts.append(over_tokens(divergence_BHT.mean(1), matched.mask_BT, matched.weights_B))
        return torch.stack(parts).mean()

    return loss


def over_tokens(values_BT: torch.Tensor, mask_BT: torch.Tensor, weights_B: torch.Tensor | None = None) -> torch.Tensor:
    """The mean over the examples of each one's mean over its real tokens, so the batches of a step add up to it."""
    return mean_of_rows((values_BT * mask_BT).sum(1) / mask_BT.sum(1), weights_B)


def relation(a_BTX: torch.Tensor, b_BTX: torch.Tensor, mask_BT: torch.Tensor, *, heads: int) -> torch.Tensor:
    """The relations of each token to each other: log softmax over real tokens, (B, heads, T, T) float32.

    Raises ValueError where the width cannot be split into `heads`.
    """
    if a_BTX.shape[-1] % heads:
        raise ValueError(
            f"distill.losses: vectors of a width of {a_BTX.shape[-1]} cannot be taken apart into the teacher's {heads}"
            " heads, as relations want. Leave the relations out."
        )
    a_BHTd, b_BHTd = (x.float().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (a_BTX, b_BTX))
    scores_BHTT = a_BHTd @ b_BHTd.transpose(-1, -2) / math.sqrt(a_BHTd.shape[-1])
    # A large negative number, not -inf, whose difference with itself is no number.
    return functional.log_softmax(scores_BHTT.masked_fill(mask_BT[:, None, None] == 0, -1e9), dim=-1)


def relation_heads(teacher: Units, student: Units) -> int:
    """The number of parts into which the vectors of both are split for their relations: at most the teacher's heads.

    Relations need the same number of heads, not the same width (MiniLMv2). `teacher`, `student`: a layer's heads.
    """
    widths = [len(heads) * heads.size for heads in (teacher, student)]
    return max(n for n in range(1, len(teacher) + 1) if not any(width % n for width in widths))


LOSSES: Mapping[str, DistillationLoss] = {
    "logits": DistillationLoss((), _logits),
    "labels": DistillationLoss((), _labels),
    "hidden": DistillationLoss(VECTORS_OF_LOSSES["hidden"], _same_vectors("hidden")),
    "embeddings": DistillationLoss(VECTORS_OF_LOSSES["embeddings"], _same_vectors("embeddings")),
    "attention_relations": DistillationLoss(VECTORS_OF_LOSSES["attention_relations"], _relations("queries", "keys")),
    "value_relations": DistillationLoss(VECTORS_OF_LOSSES["value_relations"], _relations("values", "values")),
}


@dataclass(frozen=True)
class TeacherAnswers:
    """The teacher's answers, as kept by `cache_logits`."""

    logits: torch.Tensor | Likeliest
    """(N, K), (N, 2, K), or (tokens of all rows, K), float32; of a task that writes its likeliest tokens, at the places
    of all rows that have a target, float16."""
    vectors: Vectors
    """(tokens of all rows, width) float16."""
    rows: TokenRows
    """The training rows, and after them the unlabelled ones that the teacher answered too."""

    @functools.cached_property
    def _begins(self) -> np.ndarray:
        """(N + 1,): where the targets of each row begin among those of all."""
        return np.concatenate([[0], np.cumsum(self.rows.n_targets)])

    def logits_of(self, rows_B: np.ndarray, tokens: int) -> torch.Tensor | Likeliest:
        """The logits of some rows, (B, K), (B, 2, K), or padded with zeros (B, tokens, K); or the likeliest tokens."""
        if isinstance(self.logits, Likeliest):
            places = [np.arange(self._begins[row], self._begins[row + 1]) for row in rows_B]
            at = torch.from_numpy(np.concatenate(places))
            tokens_Pk, log_Pk, rest_P = (part[at] for part in self.logits)
            return Likeliest(tokens_Pk.long(), log_Pk.float(), rest_P.float())
        if self.rows.per_token:
            return padded(self.logits, self.rows.offsets, rows_B, tokens)
        return self.logits[torch.from_numpy(rows_B)]

    def batch(self, rows_B: np.ndarray, tokens: int, names: Mapping[str, str]) -> Vectors:
        """The vectors of some rows' sequences, (B, tokens, width); `names`: new name -> name here."""
        begins, numbers = self.rows.sequences, self.rows.sequences_of(rows_B)
        return {own: padded(self.vectors[name], begins, numbers, tokens) for own, name in names.items()}


def read_answers(path: Path, rows: TokenRows) -> TeacherAnswers:
    """The teacher's answers at `path` for the training rows `rows`. Raises ValueError where they are for other rows."""
    tensors = load_file(path)
    logits: torch.Tensor | Likeliest
    if "labels" in tensors:  # texts that the teacher wrote itself
        names = ("input_ids", "lengths", "labels", *(["begins"] if rows.decoded else []))
        rows = rows.and_written(**{name: tensors.pop(name).numpy() for name in names})
    elif "lengths" in tensors:
        rows = rows.and_unlabelled(tensors.pop("input_ids").numpy(), tensors.pop("lengths").numpy())
    if Likeliest._fields[0] in tensors:
        logits = Likeliest(*(tensors.pop(name) for name in Likeliest._fields))
        found, expected, unit = len(logits.tokens), int(rows.n_targets.sum()), "tokens"
    else:
        logits = tensors.pop("logits")
        expected = int(rows.offsets[-1]) if rows.per_token else len(rows)
        found, unit = len(logits), "tokens" if rows.per_token else "rows"
    if found != expected:
        raise ValueError(f"{path}: {found} {unit} for {expected} of the training rows. Run cache_logits again.")
    return TeacherAnswers(logits, tensors, rows)


def renumbered(answers: TeacherAnswers, kept: Sequence[int]) -> TeacherAnswers:
    """The answers of a teacher that writes, for a student with the tokens `kept` alone, in that order.

    Those that it has no more are among the rest, of each place all others.
    """
    logits = answers.logits
    assert isinstance(logits, Likeliest)
    number = torch.full((int(max(max(kept), int(logits.tokens.max()))) + 1,), -1, dtype=torch.int32)
    number[torch.tensor(kept)] = torch.arange(len(kept), dtype=torch.int32)
    tokens_Pk, log_Pk = number[logits.tokens.long()], logits.log_probabilities
    gone_Pk = tokens_Pk < 0
    lost_P = log_Pk.float().masked_fill(~gone_Pk, -math.inf).logsumexp(1)
    rest_P = torch.logaddexp(logits.log_rest.float(), lost_P).to(log_Pk.dtype)
    of_kept = Likeliest(tokens_Pk.clamp(min=0), log_Pk.masked_fill(gone_Pk, -math.inf), rest_P)
    return replace(answers, logits=of_kept, rows=answers.rows.renumbered(kept, targets=True))


@contextmanager
def distillation_loss(
    weights: Mapping[str, float],
    *,
    temperature: float,
    task: TaskLearning,
    answers: TeacherAnswers,
    taps: Callable[[], Taps] | None = None,
    teacher_layers: Sequence[int] = (),
    heads: Callable[[], int] = lambda: 1,
) -> Iterator[Loss]:
    """The weighted sum of the losses of distill.losses whose `weights` are above 0, for the training loop.

    `taps` of the model that is trained, and the teacher's `heads`, are asked for where a loss needs inner vectors. The
    student's layer i is compared with the teacher's layer `teacher_layers[i]`, for those that are cached.
    Raises ValueError where the cache does not have the vectors that a loss needs.
    """
    losses = [(weight, LOSSES[name]) for name, weight in weights.items() if weight > 0]
    names: dict[str, str] = {}
    for _, one in losses:
        for kind in one.vectors:
            names |= _matched(kind, answers.vectors, teacher_layers)
    with ExitStack() as stack:
        student: Vectors = {}
        if names:
            assert taps is not None
            student = stack.enter_context(caught(taps(), list(names), when_training=True))
        relation_heads = heads() if names else 1

        def loss(logits: torch.Tensor, batch: Mapping[str, torch.Tensor], rows_B: np.ndarray) -> torch.Tensor:
            mask_BT, device = batch["attention_mask"].float(), logits.device
            teacher = answers.batch(rows_B, mask_BT.shape[1], names)
            given = answers.logits_of(rows_B, mask_BT.shape[1])
            matched = Matched(
                task=task, student_logits=logits,
                teacher_logits=Likeliest(*(part.to(device) for part in given))
                if isinstance(given, Likeliest) else given.to(device),
                targets=batch["labels"], mask_BT=mask_BT, student=student,
                teacher={name: vectors.to(device) for name, vectors in teacher.items()},
                temperature=temperature, heads=relation_heads, counted_B=batch.get("counted"),
                weights_B=batch.get("weights"),
            )  # fmt: skip
            return torch.stack([weight * one.loss(matched) for weight, one in losses]).sum()

        yield loss


def _matched(kind: str, cached: Mapping[str, torch.Tensor], teacher_layers: Sequence[int]) -> dict[str, str]:
    """The student's vectors of a kind -> the teacher's, for the layers that are cached."""
    wanted = (
        {"embeddings": "embeddings"}
        if kind == "embeddings"
        else {f"{kind}.{own}": f"{kind}.{layer}" for own, layer in enumerate(teacher_layers)}
    )
    found = {own: name for own, name in wanted.items() if name in cached}
    if not found:
        layers = "" if kind == "embeddings" else ", and to cache_logits.layers one of distill.teacher_layers"
        raise ValueError(
            f"params.yaml: distill.losses needs the teacher's {kind}, which cache_logits did not keep. Add {kind} to"
            f" cache_logits.vectors{layers}."
        )
    return found
