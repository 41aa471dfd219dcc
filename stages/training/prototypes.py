"""Zero-shot: a head made of what the labels mean, in words; nothing is trained, and no row's label is looked at.

A text gets the label whose description has the nearest vector, by the cosine.
Source: Chang et al. 2008, AAAI, "Importance of semantic representation", with the vectors of a sentence encoder.
C classes, K numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from stages.training.curves import open_curves
from stages.training.frozen import put_in, read_by_head
from stages.training.inference import predict_logits, scores_of
from stages.training.loop import Learner, Trained
from stages.training.processes import join, own_device, world_size
from stages.training.rows import TokenRows, TrainingData

SCALE = 20.0  # of the cosines: the temperature of 0.05 with which sentence encoders are trained to tell texts apart
PRECISION = "fp32"


def with_prototypes(
    model: nn.Module,
    data: TrainingData,
    learner: Learner,
    descriptions: Mapping[str, str],
    read: Callable[[Sequence[str]], list[list[int]]],
    curves: Path,
) -> Trained:
    """Give `model` the head of the labels' descriptions; a label without one is read by its name.

    read(texts): the numbers of each text's tokens, as of the rows; `curves`: a folder for the figures of the validation
    rows. Raises ValueError for a description of a label that there is not.
    """
    task, measure = learner.task, learner.measure
    assert task.names is not None  # the parameters are refused for other tasks
    names = task.names(data.space)
    if unknown := sorted({*descriptions} - {*names}):
        raise ValueError(
            f"params.yaml: finetune.descriptions has '{unknown[0]}', a label that no training row has. Allowed:"
            f" {', '.join(names)}."
        )
    if world_size() > 1:
        join()  # without a training, nothing else has
    texts = [descriptions.get(name, name.replace("_", " ")) for name in names]
    head = learner.family.parts(model).head
    rows = as_rows(texts, read(texts))
    vectors_CK = read_by_head(model.to(own_device()), head, rows, pad_id=data.pad_id, title="descriptions")
    put_in(head, head_of_cosines(vectors_CK), np.zeros(len(names), dtype=np.float32))
    logits = predict_logits(model, data.validation, pad_id=data.pad_id, precision=PRECISION, title="validation")
    scores = scores_of(logits, data.validation, task.score)
    with open_curves(curves, {}) as lines:
        lines.log(0, {f"validation/{name}": score for name, score in scores.items()})
    report = {"precision": PRECISION, "updates": 0, "train_rows": 0, f"validation_{measure}": round(scores[measure], 6)}
    return Trained(model.cpu(), report, {}, data.space)


def as_rows(texts: Sequence[str], ids: Sequence[Sequence[int]]) -> TokenRows:
    """The texts as rows without a target, by the numbers of their tokens."""
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    tokens = np.concatenate([np.array(own, dtype=np.int32) for own in ids])
    return TokenRows(list(texts), np.zeros(len(ids), dtype=np.int32), offsets, tokens)


def head_of_cosines(vectors_CK: np.ndarray) -> np.ndarray:
    """(C, K): what makes of a text's vector its cosines with these, times SCALE, where texts have vectors as long.

    A text whose vector is longer is surer of the same label.
    """
    lengths_C1 = np.linalg.norm(vectors_CK, axis=1, keepdims=True)
    return SCALE * vectors_CK / (lengths_C1 * lengths_C1.mean())
