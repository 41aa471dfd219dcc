"""The gate's check of slices: whether one is certainly worse, and how small a loss could be detected."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flows.gate.rules import Rules
from flows.gate.same_rows import Common, mean_difference, plain, points
from flows.review.evidence import Check
from stages.core.params.promotion import PromotionParams
from stages.measures.paired import sign_test, turned
from stages.measures.score import difference_of_scores


class Slice(NamedTuple):
    name: str
    rows: int
    before: float
    after: float
    p_worse: float
    low: float  # what it lost, at most, one-sided
    counts_for: int  # rows: fewer than it has where rows of one unit are alike
    won: int  # of those
    score: str  # what the mean of the scores is called

    @property
    def change(self) -> float:
        return self.after - self.before

    def least_seen(self, margin: float, chance: float) -> float:
        """The smallest loss, as a share of the slice's rows, that would have failed, with as many rows won; 1: none."""
        for lost in range(self.won + 1, self.counts_for - self.won + 1):
            loss = (lost - self.won) / self.counts_for
            if loss > margin and sign_test(lost, self.won, alternative="worse") < chance:
                return loss
        return 1.0

    def __str__(self) -> str:
        change = f"{self.before:.1%} -> {self.after:.1%}, {points(self.change)} points"
        return f"{self.name} ({self.rows:,} rows): {self.score} {change}"


def slices(common: Common, rules: Rules) -> Check:
    """A slice fails where it lost more than its margin and chance does not explain that it is worse.

    It is judged by the mean of its rows' scores: one-sided, by `turned`, with Bonferroni's correction, so that many
    slices do not stop an equal model. The check passes where no slice can have lost more than its margin; where some
    can, it cannot tell, which stops nothing.
    """
    limits = rules.limits
    if not common.slices:
        return Check("slices", "not judged", "none judged: the test rows have no slices.")
    judged = [_slice(name, common, mask, rules) for name, mask in common.slices.items() if _is_large(mask, limits)]
    small = len(common.slices) - len(judged)
    count = f"{len(judged)} judged; {small} too small, with fewer than {limits.min_slice_rows} rows."
    if not judged:
        return Check("slices", "not judged", count)
    judged.sort(key=lambda part: part.change)
    chance = (1 - limits.confidence) / len(judged)
    failed = [part for part in judged if part.change < -limits.slice_margin and part.p_worse < chance]
    accepted = f"a loss of {plain(100 * limits.slice_margin)} is accepted"
    if failed:
        return Check("slices", "fail", f"{'; '.join(map(str, failed))}; {accepted}. {count}")
    found = f"no loss beyond chance and margin; lowest: {judged[0]}; {accepted}."
    if unsure := [part for part in judged if part.low <= -limits.slice_margin]:
        return Check("slices", "cannot tell", f"{found} {_doubt(unsure, len(judged), limits, chance)} {count}")
    return Check("slices", "pass", f"{found} {count}")


def _is_large(mask: np.ndarray, limits: PromotionParams) -> bool:
    return int(mask.sum()) >= limits.min_slice_rows


def _slice(name: str, common: Common, mask: np.ndarray, rules: Rules) -> Slice:
    before, after = common.before.of(mask), common.after.of(mask)
    found = difference_of_scores(before.scores_N, after.scores_N, before.units_N)
    return Slice(
        name, int(mask.sum()), float(before.scores_N.mean()), float(after.scores_N.mean()),
        p_worse=turned(before.scores_N, after.scores_N, before.units_N, alternative="worse").p_value,
        low=mean_difference(before, after, rules.two_sided).low, counts_for=round(found.rows), won=round(found.won),
        score=rules.task.score_title,
    )  # fmt: skip


def _doubt(unsure: list[Slice], judged: int, limits: PromotionParams, chance: float) -> str:
    """A sentence on how many slices have too few rows to rule out a larger loss, and the smallest detectable loss."""
    least, blind = max((part.least_seen(limits.slice_margin, chance), part) for part in unsure)
    return (
        f"For {len(unsure)} of {judged} the rows cannot rule out more: of {blind.name} ({blind.rows:,} rows) only a "
        f"loss of {plain(round(100 * least, 1))} or more would be seen."
    )
