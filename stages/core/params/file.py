"""The pydantic mirror of params.yaml: strict, frozen and without defaults, so that the file is the whole truth.

`load_params` gives the values, or raises ValueError with one line a mistake: the key, the value found, the values
allowed. Names of plug-ins are checked where they are looked up (`stages.core.plugins`), against those that exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from stages.core.params.baseline import BaselineParams, ProbeParams, StaticParams
from stages.core.params.clean import CleanParams
from stages.core.params.compress import PruneParams, QuantizeParams
from stages.core.params.debias import DebiasParams
from stages.core.params.distill import CacheLogitsParams, DistillParams
from stages.core.params.evaluate import EvaluateParams, ProfileParams
from stages.core.params.generate import GenerateParams
from stages.core.params.ingest import IngestParams
from stages.core.params.mistakes import explained, shown
from stages.core.params.model import ModelParams, TokenizeParams
from stages.core.params.promotion import PromotionParams
from stages.core.params.task import TaskParams
from stages.core.params.training import FinetuneParams
from stages.core.params.validate import ValidateParams
from stages.core.params.values import Section
from stages.core.yaml_text import parse


class Params(Section):
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    data_seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    task: TaskParams
    ingest: IngestParams
    clean: CleanParams
    validate_: Annotated[ValidateParams, Field(alias="validate")]
    model: ModelParams
    tokenize: TokenizeParams
    baseline: BaselineParams
    static: StaticParams
    probe: ProbeParams
    finetune: FinetuneParams
    debias: DebiasParams
    generate: GenerateParams
    cache_logits: CacheLogitsParams
    distill: DistillParams
    prune: PruneParams
    quantize: QuantizeParams
    evaluate: EvaluateParams
    profile: ProfileParams
    promotion: PromotionParams

    @model_validator(mode="after")
    def _images_are_changed_where_there_are_some(self) -> Params:
        if self.model.image_augmentation and self.ingest.images is None:
            raise ValueError(
                f"model.image_augmentation is {self.model.image_augmentation:g}, and ingest.images null: rows have no"
                " images. Allowed without them: 0.0"
            )
        return self

    @model_validator(mode="after")
    def _rows_without_labels_are_for_something(self) -> Params:
        count = self.ingest.docstrings.unlabelled_rows_per_library
        if count and self.clean.unlabelled != "transfer":
            raise ValueError(
                f"ingest.docstrings.unlabelled_rows_per_library is {count}, and clean.unlabelled"
                f" '{self.clean.unlabelled}', which drops them. Allowed with it: 0; else clean.unlabelled: transfer"
            )
        return self

    @model_validator(mode="after")
    def _rates_go_by_first_values_that_were_chosen_for_them(self) -> Params:
        if self.finetune.scaled_rates and self.model.scratch is None:
            raise ValueError(
                f"finetune.scaled_rates is true, and model.name '{self.model.name}', a model with weights. Allowed:"
                " true with model.scratch, whose rates are high, such as 0.02; else false, with rates such as 0.001"
            )
        return self


def load_params(path: Path) -> Params:
    """Read params.yaml.

    Raises FileNotFoundError where there is none, and ValueError with one line a mistake.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Run this from the project's folder, or restore it with git.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 text: byte {error.start} is not valid. Save it as UTF-8.") from None
    values = parse(text, path.name)
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}: found {shown(values)}, expected sections such as 'seed:' and 'ingest:'.")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = explained(error.errors(), Params)
        raise ValueError("\n".join(f"{path.name}: {line}" for line in lines)) from None
