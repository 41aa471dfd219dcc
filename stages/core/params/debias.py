"""Section `debias`: how the unequal treatment of people is mended as models learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from stages.core.params.identity import IDENTITY_WORDS, WordLists, refuse_repeated
from stages.core.params.values import Name, PositiveFloat, Section

if TYPE_CHECKING:
    from stages.core.params.file import Params
    from stages.tasks.contract import TaskEncoding

Method = Literal["none", "counterfactual", "reweighing", "group_balanced", "worst_group", "adversarial"]
COUNTERFACTUAL = "counterfactual"
ALONE = ("none", COUNTERFACTUAL)  # methods that need no groups


class DebiasParams(Section):
    method: Method
    swaps: WordLists
    group_column: Name | None
    step_size: PositiveFloat
    adversary_weight: PositiveFloat

    @property
    def by_group(self) -> str | None:
        """The column by whose values rows are treated; None where they are not."""
        return None if self.method in ALONE else self.group_column

    @model_validator(mode="after")
    def _a_word_has_one_other(self) -> DebiasParams:
        refuse_repeated("swaps", self.swaps)
        return self

    @model_validator(mode="after")
    def _what_the_method_needs_is_there(self) -> DebiasParams:
        if self.method not in ALONE and self.group_column is None:
            raise ValueError(
                f"method is '{self.method}', and group_column null. Allowed with it: a column of ingest.keep_columns,"
                f" or {IDENTITY_WORDS}"
            )
        if not self.swaps and (self.method == COUNTERFACTUAL or self.by_group == IDENTITY_WORDS):
            wanted = "method" if self.method == COUNTERFACTUAL else "group_column"
            raise ValueError(f"{wanted} is '{getattr(self, wanted)}', and swaps has no words. Allowed: a list's name")
        return self


def faults_of_debias(params: Params, encoding: TaskEncoding) -> Iterator[str]:
    """A line for each method that the task, the source or other parameters do not go with."""
    debias, task = params.debias, params.task.name
    if debias.method == COUNTERFACTUAL and (encoding.characters or encoding.writes):
        why = "are written" if encoding.writes else "name places of the text, which a swap moves"
        yield f"params.yaml: debias.method is '{COUNTERFACTUAL}'. Not with task '{task}', whose targets {why}."
    if debias.by_group is not None:
        yield from _faults_of_groups(params, encoding)


def _faults_of_groups(params: Params, encoding: TaskEncoding) -> Iterator[str]:
    debias, task = params.debias, params.task.name
    if encoding.feature == "list_int32" or encoding.apart or encoding.images:
        yield (
            f"params.yaml: debias.method is '{debias.method}'. Allowed for task '{task}', where a row has no loss of"
            " its own: none, counterfactual."
        )
    if debias.method == "reweighing" and encoding.feature != "int32":
        yield (
            f"params.yaml: debias.method is 'reweighing'. Allowed for task '{task}', whose rows have no single label:"
            " group_balanced, worst_group, adversarial, which know the groups alone."
        )
    if params.finetune.method != "supervised":
        yield (
            f"params.yaml: finetune.method is '{params.finetune.method}', which has no losses of rows to treat by"
            f" group. Allowed with debias.method '{debias.method}': supervised."
        )
    if debias.method == "adversarial" and params.finetune.compile:
        yield "params.yaml: finetune.compile is true. Allowed with debias.method 'adversarial': false."
    known = (*params.ingest.keep_columns, IDENTITY_WORDS)
    if debias.group_column not in known:
        yield f"params.yaml: debias.group_column is '{debias.group_column}'. Allowed: {', '.join(known)}."
