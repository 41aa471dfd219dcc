"""Section `finetune`, and the parameters of every training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.params.values import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Section

Precision = Literal["auto", "fp16", "bf16", "fp32"]
ZeroStage = Literal[0, 1, 2, 3]
Offload = Literal["none", "optimizer", "all"]
Schedule = Literal["linear", "cosine", "constant"]
ClassWeights = Literal["none", "balanced"]
Selection = Literal["best", "last"]
Method = Literal["supervised", "contrastive", "zero_shot"]


class TrainingParams(Section):
    """The parameters of one run of the training loop: of `finetune`, of `distill`, and of `prune`.

    `prune` takes most of distill's.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    accumulation_steps: PositiveInt
    encoder_learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    schedule: Schedule
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    scaled_rates: bool
    max_gradient_norm: PositiveFloat
    freeze_embeddings: bool
    freeze_layers: Annotated[int, Field(ge=0)]
    patience: PositiveInt
    select_by: Selection
    precision: Precision
    zero_stage: ZeroStage
    offload: Offload
    activation_checkpointing: bool
    compile: bool
    packed: bool

    @model_validator(mode="after")
    def _what_is_offloaded_is_sharded(self) -> TrainingParams:
        least = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero_stage < least:
            raise ValueError(f"offload is '{self.offload}', which needs zero_stage {least} or higher")
        return self


class ContrastiveParams(Section):
    """The pairs that an encoder learns from, its loss's temperature, and the regularization of the head behind it."""

    pairs_per_row: Annotated[int, Field(ge=1, le=1000)]
    temperature: PositiveFloat
    inverse_regularizations: Annotated[list[PositiveFloat], Field(min_length=1)]


class LoraParams(Section):
    """Adapters of low rank beside the matrices of a pretrained model (Hu et al. 2021, arXiv:2106.09685)."""

    rank: PositiveInt
    alpha: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Annotated[list[Name], Field(min_length=1)] | None


class FinetuneParams(TrainingParams):
    method: Method
    contrastive: ContrastiveParams
    descriptions: dict[Name, Name]
    teachers: PositiveInt
    lora: LoraParams | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: ClassWeights
