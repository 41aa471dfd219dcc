"""A linear head on features that stay as they are, fitted by the task's own loss.

With the loss of a task of classes that is multinomial logistic regression, with squared errors ridge regression.
R examples (rows, or of a token head tokens), F features, K numbers of an output.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from stages.core.contracts import NO_LABEL, Space
from stages.tasks.contract import TaskLearning
from stages.training.batches import collate
from stages.training.inference import scores_of, space_of
from stages.training.rows import TokenRows

log = logging.getLogger("winnow")

Loss = Callable[..., torch.Tensor]
"""loss(logits, targets): (R,), as in TaskLearning."""
MAX_ITERATIONS = 2000
GRADIENT = 1e-6  # of the mean loss; where it is nowhere larger, the fit is at its end, on each processor
PROGRESS = 3e-5  # of the mean loss, of tokens; a step that brings less is the last
ROUND = 0.05  # of tokens: how much of a feature's square is in the loss's curvature, p (1 - p), about
LEAST_CURVATURE = 1e-4
SMALLEST_DEVIATION = 1e-6  # a feature that varies less is one that does not vary


class Featured(NamedTuple):
    """Rows and their features."""

    rows: TokenRows
    features: np.ndarray
    """(N, F), of two texts read apart (N, 2, F), or of a token head (tokens, F), in the rows' order; float32."""


class Examples(NamedTuple):
    """What a head is fitted to."""

    features_RF: np.ndarray
    targets: torch.Tensor
    """(R, ...) as the task's loss takes them; of a token head (R, 1): each token is an example of one token.

    Of a loss over whole rows (N, T).
    """
    per_token: bool
    real_NT: torch.Tensor | None = None
    """Of a loss over whole rows: which places of these rows the R tokens are, row after row."""

    def arranged(self, outputs_RK: torch.Tensor) -> torch.Tensor:
        """The outputs as the task's loss takes them: (R, K), (R, 1, K), or (N, T, K)."""
        if self.real_NT is None:
            return outputs_RK[:, None] if self.per_token else outputs_RK
        found_NTK = outputs_RK.new_zeros(*self.real_NT.shape, outputs_RK.shape[1])
        found_NTK[self.real_NT] = outputs_RK
        return found_NTK


class LinearHead(NamedTuple):
    """A linear map from features to outputs."""

    coefficients_KF: np.ndarray
    intercept_K: np.ndarray

    def outputs(self, features_RF: np.ndarray) -> np.ndarray:
        """(R, K) float32."""
        return features_RF @ self.coefficients_KF.T + self.intercept_K


class Chosen(NamedTuple):
    """The head whose score is best, and the score of each that was tried, by its inverse regularization."""

    head: LinearHead
    inverse_regularization: float
    scores: dict[float, float]
    space: Space = MappingProxyType({})
    """All that can be answered, with what the head's validation rows say of how to."""

    @property
    def score(self) -> float:
        """The score of the head; 0 where there was nothing to choose."""
        return self.scores.get(self.inverse_regularization, 0.0)

    @property
    def edge(self) -> str | None:
        """The end of the list at which the best one stands, so that a longer list may have a better: least, largest."""
        ends = {min(self.scores, default=None): "least", max(self.scores, default=None): "largest"}
        return ends.get(self.inverse_regularization) if len(self.scores) > 1 else None

    def described(self, measure: str) -> dict[str, Any]:
        """The entry of the model's model.json: how it was chosen; empty where there was nothing to choose."""
        if not self.scores:
            return {}
        by_strength = {f"{strength:g}": round(score, 6) for strength, score in self.scores.items()}
        chosen = {"inverse_regularization": self.inverse_regularization, f"validation_{measure}": by_strength}
        return {"chosen": chosen | ({"edge": self.edge} if self.edge else {})}


def head_of(
    train: Featured,
    validation: Featured,
    *,
    task: TaskLearning,
    space: Space,
    measure: str,
    inverse_regularizations: Sequence[float],
) -> Chosen:
    """The head for the task that fits the training rows and is best by `measure` on the validation rows.

    Where vectors are put out as they are, there is nothing to fit.
    """
    if task.head(space).kind == "vector":
        return Chosen(unchanged(train.features.shape[-1]), 0.0, {}, space)
    chosen = fitted_head(
        train, validation, task=task, space=space, measure=measure, inverse_regularizations=inverse_regularizations
    )
    shown = ", ".join(f"{strength:g}: {found:.3f}" for strength, found in chosen.scores.items())
    log.info(
        "%d rows, %d features; %s on validation by inverse regularization: %s",
        len(train.rows), train.features.shape[-1], measure, shown,
    )  # fmt: skip
    if chosen.edge:
        log.warning(
            "inverse_regularizations: the best, %g, is the %s that was tried, and one beyond it may be better. Make the"
            " list in params.yaml longer.",
            chosen.inverse_regularization, chosen.edge,
        )  # fmt: skip
    return chosen


def fitted_head(
    train: Featured,
    validation: Featured,
    *,
    task: TaskLearning,
    space: Space,
    measure: str,
    inverse_regularizations: Sequence[float],
) -> Chosen:
    """The same, of a task that has a head; nothing is logged."""

    def score(head: LinearHead) -> float:
        return scores_of(head.outputs(validation.features), validation.rows, task.score)[measure]

    examples, size = examples_of(train, whole_rows=task.whole_rows), task.head(space).size
    chosen = best_head(examples, task, score, size=size, inverse_regularizations=inverse_regularizations)
    logits = chosen.head.outputs(validation.features)
    return chosen._replace(space=space_of(logits, validation.rows, task, space, measure))


def unchanged(width: int) -> LinearHead:
    """The head that puts out what it reads."""
    return LinearHead(np.eye(width, dtype=np.float32), np.zeros(width, dtype=np.float32))


def examples_of(train: Featured, *, whole_rows: bool = False) -> Examples:
    """The rows, or those of their tokens that have a target, in their order; `whole_rows`: all tokens of such rows."""
    rows, features_NF = train
    batch = collate([rows[number] for number in range(len(rows))], pad_id=0)
    if not rows.per_token:
        return Examples(features_NF, batch["labels"], per_token=False)
    real_NT = batch["attention_mask"].bool()
    if whole_rows:
        has_target_N = (batch["labels"] != NO_LABEL).any(1)
        of_them = has_target_N[:, None].expand_as(real_NT)[real_NT].numpy()
        return Examples(
            features_NF[of_them], batch["labels"][has_target_N], per_token=True, real_NT=real_NT[has_target_N]
        )
    targets = batch["labels"][real_NT]
    there = targets != NO_LABEL
    return Examples(features_NF[there.numpy()], targets[there][:, None], per_token=True)


def best_head(
    examples: Examples,
    task: TaskLearning,
    score: Callable[[LinearHead], float],
    *,
    size: int,
    inverse_regularizations: Sequence[float],
) -> Chosen:
    """Fit a head of `size` outputs with each of the strengths; of the best by `score` take the most regularized.

    An inverse regularization is scikit-learn's C, of features standardised by the examples: the smaller, the smaller
    the coefficients. Where the task's loss is the mean over outputs that are apart, it is that of each.
    `score` must not look at test rows.
    """
    outputs = size if task.outputs_apart else 1
    mean_F, deviation_F = _moments(examples.features_RF)
    standard = torch.from_numpy((examples.features_RF - mean_F) / deviation_F)
    curved_FF = _curvature(standard) if examples.per_token else None
    flat = np.zeros((size, standard.shape[1] + 1))
    tried: dict[float, tuple[float, LinearHead]] = {}
    for strength in sorted(inverse_regularizations):
        # From the last one on, which is near.
        flat = _fitted(flat, standard, examples, task.loss, strength * outputs, curved_FF)
        head = _of_plain_features(flat, mean_F, deviation_F)
        tried[strength] = score(head), head
    best = max(tried, key=lambda strength: tried[strength][0])
    return Chosen(tried[best][1], best, {strength: found for strength, (found, _) in tried.items()})


def _moments(features_RF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each feature, float32; 1 for a feature that does not vary."""
    mean_F = features_RF.mean(axis=0, dtype=np.float64)
    deviation_F = features_RF.std(axis=0, dtype=np.float64)
    deviation_F[deviation_F < SMALLEST_DEVIATION] = 1.0
    return mean_F.astype(np.float32), deviation_F.astype(np.float32)


def _curvature(standard: torch.Tensor) -> np.ndarray:
    """(F + 1, F + 1) float64: about the curvature of the mean loss for one output's coefficients and its intercept."""
    curved_FF = np.eye(standard.shape[1] + 1)
    curved_FF[:-1, :-1] = (standard.T @ standard).double().numpy() / len(standard)
    return ROUND * curved_FF


def _fitted(
    start: np.ndarray,
    standard: torch.Tensor,
    examples: Examples,
    loss: Loss,
    strength: float,
    curved_FF: np.ndarray | None,
) -> np.ndarray:
    """(K, F + 1): the coefficients and the intercept that minimise the mean loss and the penalty, by L-BFGS.

    `curved_FF`: of tokens, as of `_curvature`; it changes the way, not the end.
    """
    count = len(examples.targets)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat.reshape(start.shape)).float()
        logits = (standard @ weights[:, :-1].T + weights[:, -1]).requires_grad_()
        found = loss(examples.arranged(logits), examples.targets).double().sum() / count
        (slopes_RK,) = torch.autograd.grad(found, logits)
        # The first order is the faster one, sevenfold with many tokens; rows keep the other, for its last digits.
        by_feature = slopes_RK.T @ standard if examples.per_token else (standard.T @ slopes_RK).T
        gradient = torch.cat([by_feature, slopes_RK.sum(0)[:, None]], dim=1)
        penalised = flat.reshape(start.shape) / (strength * count)
        penalised[:, -1] = 0.0  # the intercept is free
        penalty = 0.5 * float((penalised * flat.reshape(start.shape)).sum())
        return found.item() + penalty, (gradient.double().numpy() + penalised).ravel()

    if curved_FF is None:
        options = {"maxiter": MAX_ITERATIONS, "gtol": GRADIENT, "ftol": 0.0}
        return minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)

    shrunk_F = np.full(len(curved_FF), 1 / (strength * count) + LEAST_CURVATURE)
    return _least(objective, start, curved_FF + np.diag(shrunk_F))


def _least(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, curved_FF: np.ndarray
) -> np.ndarray:
    """(K, F + 1): where the objective is least, by L-BFGS over the weights times a root of the curvature.

    Tokens are many, and their features much alike: over the weights themselves hundreds of steps do not end, where of
    these, in which every direction is about as steep, some twenty do.
    Source: Böhning 1992, doi:10.1007/BF00048682, for one bound on the curvature of all outputs.
    """
    root_FF = np.linalg.cholesky(curved_FF)
    inverse_FF = solve_triangular(root_FF, np.eye(len(root_FF)), lower=True)

    def plain(flat: np.ndarray) -> np.ndarray:
        return flat.reshape(start.shape) @ inverse_FF

    def rounded(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(plain(flat).ravel())
        return value, (gradient.reshape(start.shape) @ inverse_FF.T).ravel()

    options = {"maxiter": MAX_ITERATIONS, "gtol": 0.0, "ftol": PROGRESS}
    return plain(minimize(rounded, (start @ root_FF).ravel(), jac=True, method="L-BFGS-B", options=options).x)


def _of_plain_features(flat: np.ndarray, mean_F: np.ndarray, deviation_F: np.ndarray) -> LinearHead:
    """The head of features that are not standardised, float32."""
    coefficients_KF = flat[:, :-1] / deviation_F
    intercept_K = flat[:, -1] - coefficients_KF @ mean_F
    return LinearHead(coefficients_KF.astype(np.float32), intercept_K.astype(np.float32))
