"""The gate's check of slices: whether one is certainly worse, and how small a loss could be detected."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flows.gate.same_rows import Pairs, plain, points
from flows.review.evidence import Check
from stages.core.params.promotion import PromotionParams
from stages.measures.paired import mcnemar
from stages.measures.score import score_interval


class Slice(NamedTuple):
    name: str
    rows: int
    before: float
    after: float
    p_worse: float
    low: float  # what it lost, at most, one-sided
    won: int

    @property
    def change(self) -> float:
        return self.after - self.before

    def least_seen(self, margin: float, chance: float) -> float:
        """The smallest loss, as a share of the slice's rows, that would have failed, with as many rows won; 1: none."""
        for lost in range(self.won + 1, self.rows - self.won + 1):
            loss = (lost - self.won) / self.rows
            if loss > margin and mcnemar(lost, self.won, alternative="worse") < chance:
                return loss
        return 1.0

    def __str__(self) -> str:
        change = f"{self.before:.1%} -> {self.after:.1%}, {points(self.change)} points"
        return f"{self.name} ({self.rows:,} rows): accuracy {change}"


def slices(pairs: Pairs, limits: PromotionParams) -> Check:
    """A slice fails where it lost more than its margin and chance does not explain that it is worse.

    One-sided exact McNemar with Bonferroni's correction, so that many slices do not stop an equal model. The check
    passes where no slice can have lost more than its margin; where some can, it cannot tell, which stops nothing.
    """
    if not pairs.slices:
        return Check("slices", "not judged", "none judged: the test rows have no slices.")
    judged = [_slice(name, pairs, mask, limits) for name, mask in pairs.slices.items() if _is_large(mask, limits)]
    small = len(pairs.slices) - len(judged)
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


def _slice(name: str, pairs: Pairs, mask: np.ndarray, limits: PromotionParams) -> Slice:
    before, after = (float((side[mask] == pairs.labels[mask]).mean()) for side in (pairs.before, pairs.after))
    rows, lost, won = (int(part[mask].sum()) for part in (mask, pairs.lost, pairs.won))
    low = score_interval(lost, won, rows, confidence=2 * limits.confidence - 1).low
    return Slice(name, rows, before, after, mcnemar(lost, won, alternative="worse"), low, won)


def _doubt(unsure: list[Slice], judged: int, limits: PromotionParams, chance: float) -> str:
    """A sentence on how many slices have too few rows to rule out a larger loss, and the smallest detectable loss."""
    least, blind = max((part.least_seen(limits.slice_margin, chance), part) for part in unsure)
    return (
        f"For {len(unsure)} of {judged} the rows cannot rule out more: of {blind.name} ({blind.rows:,} rows) only a "
        f"loss of {plain(round(100 * least, 1))} or more would be seen."
    )
