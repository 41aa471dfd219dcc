"""The pydantic mirror of params.yaml: strict, frozen and without defaults, so that the file is the whole truth.

`load_params` gives the values, or raises ValueError with one line a mistake: the key, what was found, what is
allowed. Plug-in names are checked where the plug-in is looked up (`stages.plugins`), against what exists.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitInterval = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ProperFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
PluginName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
RelativeOrAbsolutePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f;|&$`<>]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
ModelName = Annotated[str, Field(pattern=r"^[\w./~-][\w./ ~-]*$")]
DatasetName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]

Pooling = Literal["mean", "cls"]
Precision = Literal["auto", "fp16", "bf16", "fp32"]
ZeroStage = Literal[0, 1, 2, 3]
Selection = Literal["macro_f1", "accuracy"]
ReleasedModel = Literal["baseline", "teacher", "student", "quantized"]
CleaningRule = Literal[
    "unicode_nfc", "unicode_nfkc", "invisible_characters", "html_markup", "white_space", "lower_case"
]


class Section(BaseModel):
    """A section of params.yaml: nothing may be missing, added, converted or changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DocstringsParams(Section):
    libraries: Annotated[list[PluginName], Field(min_length=1)]
    rows_per_library: PositiveInt
    min_chars: PositiveInt
    max_chars: PositiveInt


class HubParams(Section):
    dataset: DatasetName | None
    config: str | None
    revision: Revision | None

    @model_validator(mode="after")
    def _an_id_is_pinned(self) -> HubParams:
        if self.dataset is not None and self.revision is None:
            raise ValueError(
                "revision is null. A dataset on the Hub needs its commit, so that results can be reproduced"
            )
        return self


class IngestParams(Section):
    source: PluginName
    path: RelativeOrAbsolutePath
    text_column: Annotated[str, Field(min_length=1)]
    label_column: Annotated[str, Field(min_length=1)]
    keep_columns: list[Annotated[str, Field(min_length=1)]]
    docstrings: DocstringsParams
    hub: HubParams


class CleanParams(Section):
    rules: list[CleaningRule]
    min_chars: PositiveInt
    max_chars: PositiveInt
    near_duplicate_jaccard: Annotated[float, Field(ge=0.5, le=1)]
    validation_fraction: ProperFraction
    test_fraction: ProperFraction

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> CleanParams:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction add up to 1 or more: nothing is left for training")
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars ({self.min_chars}) is larger than max_chars ({self.max_chars})")
        return self


class ValidateParams(Section):
    min_rows: PositiveInt
    min_labels: Annotated[int, Field(ge=2)]
    min_rows_per_label: PositiveInt
    max_dropped_share: UnitInterval


class ModelParams(Section):
    family: PluginName
    name: ModelName
    revision: Revision | None
    sha256: Sha256 | None
    pooling: Pooling
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]


class TokenizeParams(Section):
    max_tokens: Annotated[int, Field(ge=4, le=8192)]


class BaselineParams(Section):
    max_ngram: Annotated[int, Field(ge=1, le=5)]
    inverse_regularization: PositiveFloat


class TrainingParams(Section):
    """What `finetune` and `distill` share: the values of one run of the training loop."""

    epochs: PositiveInt
    batch_size: PositiveInt
    accumulation_steps: PositiveInt
    encoder_learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    max_gradient_norm: PositiveFloat
    freeze_embeddings: bool
    patience: PositiveInt
    select_by: Selection
    precision: Precision
    zero_stage: ZeroStage


class FinetuneParams(TrainingParams):
    pass


class DistillParams(TrainingParams):
    teacher_layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    temperature: PositiveFloat
    hard_label_weight: UnitInterval


class QuantizeParams(Section):
    backend: PluginName
    per_channel: bool
    temperature_scaling: bool


class EvaluateParams(Section):
    confidence: ProperFraction
    resamples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    slices: list[Annotated[str, Field(min_length=1)]]
    group_column: str | None
    identity_swaps: list[Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2, max_length=2)]]
    perturbed_rows: PositiveInt

    @model_validator(mode="after")
    def _a_word_has_one_other(self) -> EvaluateParams:
        words = [word.lower() for pair in self.identity_swaps for word in pair]
        if repeated := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"identity_swaps has '{repeated[0]}' more than once: what it is swapped for is unclear")
        return self


class ProfileParams(Section):
    threads: PositiveInt
    single_rows: PositiveInt
    throughput_rows: PositiveInt
    batch_size: PositiveInt
    batch_sizes: list[PositiveInt]
    thread_counts: list[PositiveInt]


class PromotionParams(Section):
    model: ReleasedModel
    measure: Selection
    margin: ProperFraction
    confidence: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)]
    slice_margin: ProperFraction
    min_slice_rows: PositiveInt
    max_ece: UnitInterval | None
    max_identity_flip_rate: UnitInterval | None
    max_group_gap: UnitInterval | None
    max_latency_p50_ms: PositiveFloat | None
    max_size_mb: PositiveFloat | None


class RetrainParams(Section):
    max_label_share_change: UnitInterval | None
    max_length_change: PositiveFloat | None
    max_rows_lost: UnitInterval | None


class Params(Section):
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    task: PluginName
    ingest: IngestParams
    clean: CleanParams
    validate_: Annotated[ValidateParams, Field(alias="validate")]
    model: ModelParams
    tokenize: TokenizeParams
    baseline: BaselineParams
    finetune: FinetuneParams
    distill: DistillParams
    quantize: QuantizeParams
    evaluate: EvaluateParams
    profile: ProfileParams
    retrain: RetrainParams
    promotion: PromotionParams


def load_params(path: Path) -> Params:
    """Read params.yaml.

    Raises FileNotFoundError where there is none, and ValueError with one line a mistake.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Run this from the project's folder, or restore it with git.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{path.name}{where}: not YAML: {problem}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 text: byte {error.start} is not valid. Save it as UTF-8.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}: found {_shown(values)}, expected sections such as 'seed:' and 'ingest:'.")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [_explain(mistake) for mistake in error.errors()]
        raise ValueError("\n".join(f"{path.name}: {line}" for line in lines)) from None


def _explain(mistake: Mapping[str, Any]) -> str:
    """One pydantic mistake in Winnow's words: the key, what was found, what is allowed, the nearest guess."""
    kind, context, found = mistake["type"], mistake.get("ctx", {}), mistake["input"]
    location = [part for part in mistake["loc"] if part != "function-after"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if kind == "extra_forbidden":
        allowed = _keys_beside(location)
        return f"{key} is not a parameter. Allowed here: {', '.join(allowed)}.{_guess(str(location[-1]), allowed)}"
    if kind == "missing":
        return f"{key} is missing. It has no default: take the line from the params.yaml of the repository."
    if kind == "value_error":
        return f"{key}: {context['error']}."
    if kind == "literal_error":
        allowed = _literals(location)
        return f"{key} is {_shown(found)}. Allowed: {', '.join(allowed)}.{_guess(str(found), allowed)}"
    if kind == "string_pattern_mismatch":
        return f"{key} is {_shown(found)}. Allowed: text that matches {context['pattern']}."
    return f"{key} is {_shown(found)}. Allowed: {_allowed(kind, context, mistake['msg'])}.{_unquoted(kind, found)}"


def _unquoted(kind: str, found: Any) -> str:
    """What to write where a number was read as a text: YAML 1.1 wants a dot in 2.0e-4."""
    if kind not in ("int_type", "float_type") or not isinstance(found, str) or not _is_number(found):
        return ""
    return (
        f" Write {float(found):.1e}: YAML takes {found} for a text."
        if "e" in found.lower()
        else " Leave out the quotes."
    )


_BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
    "less_than": ("lt", "less than {}"),
    "too_short": ("min_length", "at least {} entries"),
    "string_too_short": ("min_length", "a text of at least {} characters"),
}
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "model_type": "a section of 'key: value' lines",
    "finite_number": "a finite number",
}


def _allowed(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return words.format(context[name])
    return _TYPES.get(kind, message)


def _field(location: list[Any]) -> Any:
    """The annotation of the parameter at `location`."""
    annotation: Any = Params
    for part in location:
        if isinstance(part, int):
            annotation = get_args(annotation)[0]
        else:
            fields = annotation.model_fields
            annotation = next(f for name, f in fields.items() if part in (name, f.alias)).annotation
    return annotation


def _literals(location: list[Any]) -> list[str]:
    return [str(value) for value in get_args(_field(location))]


def _keys_beside(location: list[Any]) -> list[str]:
    return [field.alias or name for name, field in _field(location[:-1]).model_fields.items()]


def _guess(found: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(found, allowed, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
