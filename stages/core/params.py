"""The pydantic mirror of params.yaml: strict, frozen and without defaults, so that the file is the whole truth.

`load_params` gives the values, or raises ValueError with one line a mistake: the key, what was found, what is
allowed. Plug-in names are checked where the plug-in is looked up (`stages.core.plugins`), against what exists.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from stages.core.contracts import RECURRENT
from stages.core.paths import BESIDE, SPLITS
from stages.core.yaml_text import parse

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitInterval = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ProperFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
PluginName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
RelativeOrAbsolutePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f;|&$`<>]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
ModelName = Annotated[str, Field(pattern=r"^[\w./~-][\w./ ~-]*$")]
Name = Annotated[str, Field(min_length=1)]
IdentityList = Literal["gender_en"]
WordPairs = list[Annotated[list[Name], Field(min_length=2, max_length=2)]]
_FORMS = ("a name", "pairs")  # of one parameter; pydantic puts them where a mistake is
IdentitySwaps = Annotated[
    Annotated[IdentityList, Tag("a name")] | Annotated[WordPairs, Tag("pairs")],
    Discriminator(lambda found: "a name" if isinstance(found, str) else "pairs"),
]
DatasetName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]

Pooling = Literal["mean", "cls"]
RecurrentPooling = Literal["max", "mean", "last"]
Precision = Literal["auto", "fp16", "bf16", "fp32"]
ZeroStage = Literal[0, 1, 2, 3]
Offload = Literal["none", "optimizer", "all"]
Schedule = Literal["linear", "cosine", "constant"]
ClassWeights = Literal["none", "balanced"]
Activations = Literal["static", "dynamic"]
Measure = Literal["macro_f1", "accuracy"]
Selection = Literal["macro_f1", "accuracy", "last"]
Anchor = Annotated[str, Field(pattern=r"^(first|v\d+\.\d+\.\d+)$")]
ReleasedModel = Literal["baseline", "teacher", "student", "pruned", "quantized"]
TeacherVectors = Literal["embeddings", "hidden", "queries", "keys", "values"]
CleaningRule = Literal[
    "unicode_nfc",
    "unicode_nfkc",
    "invisible_characters",
    "html_markup",
    "markdown_markup",
    "white_space",
    "mask_urls",
    "mask_emails",
    "mask_phone_numbers",
    "mask_numbers",
    "lower_case",
    "no_digits",
    "no_punctuation",
    "no_stop_words",
    "classic",
]
ConflictingLabels = Literal["drop", "majority", "keep"]
RareLabels = Literal["keep", "drop", "merge"]
Unlabelled = Literal["drop", "transfer"]
DataLimit = Literal[
    "min_rows",
    "labels",
    "min_labels",
    "min_rows_per_label",
    "min_label_share",
    "max_label_share",
    "max_look_alike_labels",
    "max_missing_text_share",
    "max_missing_label_share",
    "min_median_chars",
    "max_median_chars",
    "max_p95_chars",
    "max_duplicate_share",
    "max_dropped_share",
    "max_truncated_share",
    "max_unknown_share",
    "max_label_drift",
    "max_length_drift",
    "max_word_drift",
    "max_rows_lost",
]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
MaskWord = Annotated[str, Field(max_length=40)]


class Section(BaseModel):
    """A section of params.yaml: nothing may be missing, added, converted or changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DocstringsParams(Section):
    libraries: Annotated[list[PluginName], Field(min_length=1)]
    rows_per_library: PositiveInt
    held_out_rows_per_library: Annotated[int, Field(ge=0)]
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


class SplitNames(Section):
    """What the data calls its splits."""

    train: Name
    validation: Name
    test: Name
    transfer: Name | None
    held_out: Name | None

    @model_validator(mode="after")
    def _each_is_called_otherwise(self) -> SplitNames:
        if len(self.by_name()) < len(SPLITS) + sum(getattr(self, split) is not None for split in BESIDE):
            raise ValueError("two splits have the same name: which rows are which is unclear")
        return self

    def by_name(self) -> dict[str, str]:
        """The data's names to train, validation, test and, where there are such, transfer and held_out, in this
        order."""
        return {name: split for split in (*SPLITS, *BESIDE) if (name := getattr(self, split)) is not None}


class IngestParams(Section):
    source: PluginName
    path: RelativeOrAbsolutePath
    pattern: RelativeOrAbsolutePath | None
    encoding: Name
    max_row_chars: Annotated[int, Field(ge=1_000)]
    max_file_bytes: Annotated[int, Field(ge=1_000)]
    text_column: Name
    text_pair_column: Name | None
    label_column: Name
    keep_columns: list[Name]
    split_column: Name | None
    splits: SplitNames
    docstrings: DocstringsParams
    hub: HubParams

    @property
    def is_outside(self) -> bool:
        """Whether `path` lies outside the project: absolute, or a URL."""
        return "://" in self.path or Path(self.path).is_absolute()

    @model_validator(mode="after")
    def _pairs_are_of_two_columns(self) -> IngestParams:
        if self.text_pair_column is not None and self.source == "docstrings":
            raise ValueError(
                f"text_pair_column is '{self.text_pair_column}'. Allowed for the source docstrings: null, as it has"
                " single texts"
            )
        if self.text_pair_column == self.text_column:
            raise ValueError(
                f"text_pair_column is '{self.text_column}', as text_column is. Name the column of the second text, or"
                " set null where there is none"
            )
        return self

    @field_validator("encoding")
    @classmethod
    def _an_encoding_is_one_of_pythons(cls, name: str) -> str:
        try:
            "".encode("utf-8" if name == "auto" else name)
        except (LookupError, ValueError):
            raise ValueError(
                f"'{name}' is no encoding. Allowed: auto, or a codec of Python's, such as utf-8, utf-16, cp1252, "
                "latin-1, shift_jis, gb18030"
            ) from None
        return name


class MasksParams(Section):
    url: MaskWord
    email: MaskWord
    phone_number: MaskWord
    number: MaskWord


class CleanParams(Section):
    rules: list[CleaningRule]
    masks: MasksParams
    stop_word_language: LanguageCode
    languages: Annotated[list[LanguageCode], Field(min_length=1)] | None
    min_chars: PositiveInt
    max_chars: PositiveInt
    near_duplicate_jaccard: Annotated[float, Field(ge=0.5, le=1)]
    conflicting_labels: ConflictingLabels
    rare_labels: RareLabels
    rare_label_rows: Annotated[int, Field(ge=2)]
    rare_label_name: Name
    unlabelled: Unlabelled
    group_column: Annotated[str, Field(min_length=1)] | None
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
    labels: Annotated[list[Name], Field(min_length=2)] | None
    min_labels: Annotated[int, Field(ge=2)]
    min_rows_per_label: PositiveInt
    min_label_share: UnitInterval | None
    max_label_share: UnitInterval | None
    max_look_alike_labels: Annotated[int, Field(ge=0)] | None
    max_missing_text_share: UnitInterval | None
    max_missing_label_share: UnitInterval | None
    min_median_chars: PositiveInt | None
    max_median_chars: PositiveInt | None
    max_p95_chars: PositiveInt | None
    max_duplicate_share: UnitInterval | None
    max_dropped_share: UnitInterval | None
    max_truncated_share: UnitInterval | None
    max_unknown_share: UnitInterval | None
    max_label_drift: UnitInterval | None
    max_length_drift: PositiveFloat | None
    max_word_drift: UnitInterval | None
    max_rows_lost: UnitInterval | None
    warn_only: list[DataLimit]


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
    long_texts: Literal["truncate", "windows"]
    stride: Annotated[int, Field(ge=0)]
    tokenizer: Literal["pretrained", "trained"]
    vocabulary_size: Annotated[int, Field(ge=100)]

    @property
    def shared(self) -> int | None:
        """The tokens that neighbouring windows share; None where long texts are cut."""
        return self.stride if self.long_texts == "windows" else None


class BaselineParams(Section):
    max_ngram: Annotated[int, Field(ge=1, le=5)]
    inverse_regularization: PositiveFloat


class TrainingParams(Section):
    """The values of one run of the training loop: of `finetune`, of `distill`, and of `prune`, which takes most of
    distill's."""

    epochs: PositiveInt
    batch_size: PositiveInt
    accumulation_steps: PositiveInt
    encoder_learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    schedule: Schedule
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
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

    @property
    def watched(self) -> Measure:
        """The score that chooses the epoch; with `last`, where none does, that which is reported."""
        return "macro_f1" if self.select_by == "last" else self.select_by

    @model_validator(mode="after")
    def _what_is_offloaded_is_sharded(self) -> TrainingParams:
        least = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero_stage < least:
            raise ValueError(f"offload is '{self.offload}', which needs zero_stage {least} or higher")
        return self


class FinetuneParams(TrainingParams):
    teachers: PositiveInt
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: ClassWeights


class CacheLogitsParams(Section):
    augmented_copies: Annotated[int, Field(ge=0)]
    hidden_share: ProperFraction
    vectors: list[TeacherVectors]
    layers: list[Annotated[int, Field(ge=0)]]

    @model_validator(mode="after")
    def _vectors_are_those_of_layers(self) -> CacheLogitsParams:
        if self.layers and not set(self.vectors) - {"embeddings"}:
            raise ValueError("layers names layers, and vectors does not say what of them is to be kept")
        if set(self.vectors) - {"embeddings"} and not self.layers:
            raise ValueError("vectors are of layers, and layers does not say which")
        return self


HEAD_LOSSES = ("logits", "labels")
SAME_WIDTH_LOSSES = ("hidden", "embeddings")


class LossWeights(Section):
    """How much each loss of `stages.training.distillation.LOSSES` counts."""

    logits: NonNegativeFloat
    labels: NonNegativeFloat
    hidden: NonNegativeFloat
    embeddings: NonNegativeFloat
    attention_relations: NonNegativeFloat
    value_relations: NonNegativeFloat


class BilstmParams(Section):
    hidden_units: PositiveInt
    layers: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    pooling: RecurrentPooling


class DistillParams(TrainingParams):
    family: PluginName
    bilstm: BilstmParams
    teacher_layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    hidden_size: PositiveInt | None
    width_rows: PositiveInt
    temperature: PositiveFloat
    losses: LossWeights

    @model_validator(mode="after")
    def _something_is_matched(self) -> DistillParams:
        if not any(getattr(self.losses, name) for name in HEAD_LOSSES):
            raise ValueError("losses has neither logits nor labels above 0: nothing would train the head")
        return self

    @model_validator(mode="after")
    def _a_recurrent_student_has_no_layers_of_its_teachers(self) -> DistillParams:
        if self.family == RECURRENT and self.hidden_size is not None:
            raise ValueError(
                f"hidden_size is {self.hidden_size}. Allowed with family 'bilstm': null. Its width is"
                " bilstm.hidden_units"
            )
        weights = self.losses.model_dump()
        inner = [name for name, weight in weights.items() if weight > 0 and name not in HEAD_LOSSES]
        if self.family == RECURRENT and inner:
            raise ValueError(
                f"losses.{inner[0]} is {weights[inner[0]]}. Allowed with family 'bilstm': 0.0, as nothing in it"
                " corresponds to the teacher's inner vectors"
            )
        return self

    @model_validator(mode="after")
    def _vectors_of_the_same_width_are_compared(self) -> DistillParams:
        if self.hidden_size is None:
            return self
        for name in SAME_WIDTH_LOSSES:
            if getattr(self.losses, name):
                raise ValueError(
                    f"losses.{name} is {getattr(self.losses, name)} and hidden_size {self.hidden_size}. Allowed with"
                    f" a hidden_size: 0.0, as {name} compares vectors number by number. Take"
                    " attention_relations and value_relations, or set hidden_size to null"
                )
        return self


class PruneParams(Section):
    vocabulary: Literal["all", "corpus"]
    common_words: Annotated[int, Field(ge=0)]
    heads_kept: Share
    feed_forward_kept: Share
    importance_rows: PositiveInt
    epochs: PositiveInt
    encoder_learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat


class QuantizeParams(Section):
    backend: PluginName
    activations: Activations
    calibration_rows: PositiveInt
    per_channel: bool
    max_loss: UnitInterval
    temperature_scaling: bool


class EvaluateParams(Section):
    confidence: ProperFraction
    resamples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    slices: list[Annotated[str, Field(min_length=1)]]
    group_column: str | None
    identity_swaps: IdentitySwaps
    perturbed_rows: PositiveInt

    @model_validator(mode="after")
    def _a_word_has_one_other(self) -> EvaluateParams:
        pairs = () if isinstance(self.identity_swaps, str) else self.identity_swaps
        words = [word.lower() for pair in pairs for word in pair]
        if repeated := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"identity_swaps has '{repeated[0]}' more than once: what it is swapped for is unclear")
        return self


class ProfileParams(Section):
    rounds: PositiveInt
    threads: PositiveInt
    single_rows: PositiveInt
    throughput_rows: PositiveInt
    batch_size: PositiveInt
    batch_sizes: list[PositiveInt]
    thread_counts: list[PositiveInt]


class PromotionParams(Section):
    model: ReleasedModel
    measure: Measure
    floor: ProperFraction | None
    margin: ProperFraction
    anchor: Anchor | None
    anchor_margin: ProperFraction
    confidence: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)]
    slice_margin: ProperFraction
    min_slice_rows: PositiveInt
    max_ece: UnitInterval | None
    max_identity_flip_rate: UnitInterval | None
    max_group_gap: UnitInterval | None
    max_latency_p50_ms: PositiveFloat | None
    max_size_mb: PositiveFloat | None


class Params(Section):
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    data_seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    task: PluginName
    ingest: IngestParams
    clean: CleanParams
    validate_: Annotated[ValidateParams, Field(alias="validate")]
    model: ModelParams
    tokenize: TokenizeParams
    baseline: BaselineParams
    finetune: FinetuneParams
    cache_logits: CacheLogitsParams
    distill: DistillParams
    prune: PruneParams
    quantize: QuantizeParams
    evaluate: EvaluateParams
    profile: ProfileParams
    promotion: PromotionParams


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
        raise ValueError(f"{path.name}: found {_shown(values)}, expected sections such as 'seed:' and 'ingest:'.")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [_explain(mistake) for mistake in error.errors()]
        raise ValueError("\n".join(f"{path.name}: {line}" for line in lines)) from None


def _explain(mistake: Mapping[str, Any]) -> str:
    """One pydantic mistake in Winnow's words: the key, what was found, what is allowed, the nearest guess."""
    kind, context, found = mistake["type"], mistake.get("ctx", {}), mistake["input"]
    location = [part for part in mistake["loc"] if part not in ("function-after", *_FORMS)]
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
    """What to do where a number is in quotes."""
    return " Leave out the quotes." if kind in ("int_type", "float_type") and _is_number(found) else ""


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
    return list(map(str, _literals_of(_field(location))))


def _literals_of(annotation: Any) -> list[Any]:
    """The values of a Literal, also of one among other types."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals_of(part)]


def _keys_beside(location: list[Any]) -> list[str]:
    return [field.alias or name for name, field in _field(location[:-1]).model_fields.items()]


def _guess(found: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(found, allowed, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _is_number(text: Any) -> bool:
    try:
        return isinstance(text, str) and isinstance(parse(text, "the value"), int | float)
    except ValueError:
        return False


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
