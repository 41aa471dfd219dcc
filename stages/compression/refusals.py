"""Checks before any training for settings that `cache_logits`, `distill`, `prune` and `quantize` would refuse."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import read_object
from stages.core.lacks import LACKS, LACKS_OF_KINDS
from stages.core.params.distill import VECTORS_OF_LOSSES
from stages.core.plugins import install_extra
from stages.core.tokenizer_kinds import HIDING, nothing_to_hide_behind, tokens_of, unmarkable, untrainable

if TYPE_CHECKING:
    from stages.core.contracts import Reader, Units
    from stages.core.params.file import Params
    from stages.core.params.training import TrainingParams

ADAPTERS = "peft"  # the package of the extra "lora"
CUTTABLE = ("BPE", "Unigram", "WordPiece")  # those of KINDS in pieces.py
N_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
WIDTHS = (("hidden_size", "num_attention_heads"), ("dim", "n_heads"))  # what configurations call width and heads


def faults_of_folder(folder: Path, params: Params) -> Iterator[str]:
    """Faults that a model folder's tokenizer.json and config.json show, a line each; none where the files are missing.

    `refuse_unprunable` sees more: it has the model.
    """
    tokenizer, config = folder / "tokenizer.json", folder / "config.json"
    if tokenizer.is_file():
        yield from _faults_of_tokenizer(read_object(tokenizer), params)
    about = read_object(config) if config.is_file() else {}
    yield from _faults_of_kind(about, params)
    yield from _faults_of_layers(about, params)


def _faults_of_tokenizer(tokenizer: Mapping[str, Any], params: Params) -> Iterator[str]:
    """What `tokenize` and `prune` would refuse of the model's own tokenizer."""
    if params.tokenize.tokenizer == "trained" and (fault := untrainable(tokenizer.get("model") or {})):
        yield fault
    if params.tokenize.capitals == "marked" and (fault := unmarkable(tokenizer)):
        yield fault
    if params.prune.vocabulary == "corpus" and (fault := vocabulary_fault(tokenizer)):
        yield fault
    copies, own = params.cache_logits.augmented_copies, params.tokenize.tokenizer != "trained"
    if copies and own and not tokens_of(tokenizer) & {*HIDING}:
        yield nothing_to_hide_behind(copies)


def _faults_of_kind(about: Mapping[str, Any], params: Params) -> Iterator[str]:
    """What the kind of model of this config.json lacks and params.yaml wants, and widths that it cannot have."""
    kind, hidden_size = about.get("model_type", ""), params.distill.hidden_size
    lacks = LACKS_OF_KINDS.get(kind, frozenset())
    stages: list[tuple[str, TrainingParams]] = [("finetune", params.finetune)]
    stages += [("distill", params.distill)] if params.distill.family == params.model.family else []
    settings = {
        # `prune` cuts the student; where that is of another family, this model's layers need not be cut.
        "units": [] if "units" in _lacked(params.distill.family) else _shares_below_1(params),
        "vectors": ["cache_logits.vectors: []"] if params.cache_logits.vectors else [],
        "width": [] if hidden_size is None else ["distill.hidden_size: null"],
        "layers": [f"{name}.freeze_layers: 0" for name, of in stages if of.freeze_layers],
        "activation_checkpointing": [
            f"{name}.activation_checkpointing: false" for name, of in stages if of.activation_checkpointing
        ],
    }
    if wanted := [setting for what, of in settings.items() if what in lacks for setting in of]:
        yield (
            f"params.yaml: model.name is '{params.model.name}', of the kind {kind}, whose layers cannot be taken apart"
            f" so. Set {', '.join(wanted)}."
        )
    elif hidden_size is not None:
        sizes = [(about[width], about[heads]) for width, heads in WIDTHS if width in about and heads in about]
        if sizes and (fault := width_fault(hidden_size, width=sizes[0][0], heads=sizes[0][1])):
            yield fault
        elif sizes and about.get("embedding_size", sizes[0][0]) != sizes[0][0]:
            yield (
                f"params.yaml: model.name is '{params.model.name}', whose embeddings are {about['embedding_size']} wide"
                f" and its layers {sizes[0][0]}, so it cannot be made narrower. Set distill.hidden_size: null."
            )


def _faults_of_layers(about: Mapping[str, Any], params: Params) -> Iterator[str]:
    """Layers in distill.teacher_layers that the model of this config.json does not have, or has in another place."""
    wanted = params.distill.teacher_layers
    count = next((about[name] for name in N_LAYERS if isinstance(about.get(name), int)), None)
    if count is not None and params.cache_logits.layers and max(params.cache_logits.layers) >= count:
        yield (
            f"params.yaml: cache_logits.layers has {max(params.cache_logits.layers)}. Allowed: 0 to {count - 1}, as the"
            f" teacher has {count} layers."
        )
    if "layers" in _lacked(params.distill.family):  # that student is not made of its teacher's
        return
    if count is not None and max(wanted) >= count:
        yield (
            f"params.yaml: distill.teacher_layers has {max(wanted)}. Allowed: 0 to {count - 1}, as the teacher has"
            f" {count} layers."
        )
    if "first_layer" in LACKS_OF_KINDS.get(about.get("model_type", ""), ()) and (wanted[0] or 0 in wanted[1:]):
        yield (
            f"params.yaml: distill.teacher_layers is {wanted}, and the first layer of a {about['model_type']} model has"
            " a place of its own. Allowed: 0, and others behind it."
        )


def faults_of_student(params: Params) -> Iterator[str]:
    """The settings of params.yaml that the families of teacher and student do not support, one line each."""
    if "pretrained_weights" in _lacked(params.model.family):
        known = {name: lacked for name, lacked in LACKS.items() if "pretrained_weights" not in lacked}
        allowed = ", ".join(name for name, lacked in known.items() if "writing" in lacked)
        yield (
            f"params.yaml: model.family is '{params.model.family}', which has no pretrained weights. Allowed:"
            f" {allowed}. For such a student set distill.family to it."
        )
    yield from _faults_of_scratch(params)
    yield from _faults_of_packing(params)
    yield from _faults_of_vectors(params)
    family = params.distill.family
    lacks = _lacked(family)
    if "units" in lacks and (wanted := _shares_below_1(params)):
        yield (
            f"params.yaml: distill.family is '{family}', whose layers have neither attention heads nor feed-forward"
            f" neurons. Set {', '.join(wanted)}."
        )
    if "activation_checkpointing" in lacks and params.distill.activation_checkpointing:
        yield (
            f"params.yaml: distill.activation_checkpointing is true, and distill.family '{family}'. Allowed for it:"
            " false."
        )
    if params.quantize.backend in lacks:
        yield (
            f"params.yaml: quantize.backend is '{params.quantize.backend}', and distill.family '{family}'. Allowed for"
            " it: auto, onnxruntime_int8."
        )


def _faults_of_scratch(params: Params) -> Iterator[str]:
    """The settings with which a model from random weights cannot be trained."""
    if params.model.scratch is None:
        return
    if params.tokenize.tokenizer != "trained":
        yield (
            f"params.yaml: model.name is 'scratch', which has no tokenizer, and tokenize.tokenizer is"
            f" '{params.tokenize.tokenizer}'. Allowed for it: trained."
        )
    if params.finetune.freeze_embeddings or params.finetune.freeze_layers:
        yield (
            "params.yaml: model.name is 'scratch', whose weights are random, so that none may stay as they are. Set"
            " finetune.freeze_embeddings: false, finetune.freeze_layers: 0."
        )


def _faults_of_packing(params: Params) -> Iterator[str]:
    """Rows that are to be packed for models that would not keep them apart, or compared by their tokens' vectors."""
    able = ", ".join(name for name, lacked in LACKS.items() if "packing" not in lacked)
    runs: list[tuple[str, TrainingParams, str, str]] = [
        ("finetune", params.finetune, "model.family", params.model.family),
        ("distill", params.distill, "distill.family", params.distill.family),
    ]
    for section, training, key, family in runs:
        if training.packed and "packing" in _lacked(family):
            yield (
                f"params.yaml: {section}.packed is true, and {key} '{family}', whose models would read packed rows as"
                f" one. Allowed for it: false. Families that keep them apart: {able}."
            )
    if params.distill.packed and params.cache_logits.vectors:
        yield (
            "params.yaml: distill.packed is true. Allowed with cache_logits.vectors, which are compared row by row:"
            " false."
        )


def _faults_of_vectors(params: Params) -> Iterator[str]:
    """Losses on inner vectors that are not kept, or cannot be caught, and more frozen layers than the student has."""
    distill, kept = params.distill, params.cache_logits
    lacks = _lacked(distill.family)
    for name, kinds in VECTORS_OF_LOSSES.items():
        if not getattr(distill.losses, name):
            continue
        if "vectors" in lacks:
            yield (
                f"params.yaml: distill.losses.{name} is {getattr(distill.losses, name):g}, and distill.family"
                f" '{distill.family}', whose inner vectors correspond to none of a teacher's. Allowed for it: 0."
            )
            continue
        if missing := [kind for kind in kinds if kind not in kept.vectors]:
            yield (
                f"params.yaml: distill.losses.{name} is {getattr(distill.losses, name):g}, and cache_logits.vectors"
                f" {kept.vectors}. Needed for it: {', '.join(missing)}."
            )
        elif kinds != ("embeddings",) and not set(kept.layers) & set(distill.teacher_layers):
            yield (
                f"params.yaml: distill.losses.{name} is {getattr(distill.losses, name):g}, and cache_logits.layers"
                f" {kept.layers} has none of distill.teacher_layers {distill.teacher_layers}, as it needs."
            )
    if kept.vectors and "vectors" not in lacks:
        for name in ("compile", "activation_checkpointing"):
            if getattr(distill, name):
                yield (
                    f"params.yaml: distill.{name} is true. Allowed with losses on inner vectors: false. Set it to"
                    " false, or cache_logits.vectors to []."
                )
    if "one_stack" not in lacks and distill.freeze_layers > len(distill.teacher_layers):
        yield (
            f"params.yaml: distill.freeze_layers is {distill.freeze_layers}. Allowed: 0 to"
            f" {len(distill.teacher_layers)}, the layers of the student (distill.teacher_layers)."
        )


def faults_of_lora(params: Params) -> Iterator[str]:
    """The settings with which no adapters can be trained, a line each."""
    if params.finetune.lora is None:
        return
    if params.model.scratch is not None:
        yield (
            "params.yaml: model.name is 'scratch', whose weights are random, and finetune.lora would leave them so."
            " Allowed for it: null."
        )
    if params.finetune.method != "supervised":
        yield (
            f"params.yaml: finetune.method is '{params.finetune.method}', and finetune.lora is for models that learn"
            " targets. Allowed with it: null."
        )
    if importlib.util.find_spec(ADAPTERS) is None:
        yield (
            f"params.yaml: finetune.lora needs the package '{ADAPTERS}': it is not installed. Set it to null, or"
            f" install it from Winnow's folder: {install_extra('lora')}"
        )


def _lacked(family: str) -> frozenset[str]:
    """What the family has not; nothing is known of a name that is none, which others refuse."""
    return LACKS.get(family, frozenset())


def _shares_below_1(params: Params) -> list[str]:
    """The settings with which `prune` leaves heads and neurons as they are."""
    return [f"prune.{name}: 1.0" for name in ("heads_kept", "feed_forward_kept") if getattr(params.prune, name) < 1]


def refuse_unprunable(
    params: Params,
    tokenizer: Path,
    *,
    units: Callable[[], Mapping[str, Sequence[Units]]],
    taps: Callable[[], object],
    readers: Callable[[], Sequence[Reader]],
) -> None:
    """Raise ValueError, with what to set, where later stages could not treat the model as params.yaml says.

    `tokenizer`: its tokenizer.json. `units`, `taps` and `readers`: the family's for the model, which raise where there
    are none.
    """
    if faults := list(faults_of_student(params)):
        raise ValueError("\n".join(faults))
    if params.prune.vocabulary == "corpus" and (fault := vocabulary_fault(read_object(tokenizer))):
        raise ValueError(fault)
    if _shares_below_1(params):
        units()
    if params.cache_logits.vectors:
        taps()
    if (hidden_size := params.distill.hidden_size) is not None:
        width, heads = readers()[0].norm.weight.numel(), len(units()["heads"][0])
        if fault := width_fault(hidden_size, width=width, heads=heads):
            raise ValueError(fault)


def refuse_layers(config: Path, params: Params) -> None:
    """Raise ValueError where the model of this config.json has not the layers that its student is to be made of."""
    if faults := list(_faults_of_layers(read_object(config), params)):
        raise ValueError("\n".join(faults))


def width_fault(hidden_size: int, *, width: int, heads: int) -> str | None:
    """Why a model of this width and number of heads cannot be made `hidden_size` wide; None where it can."""
    allowed = range(width // heads, width + 1, width // heads)
    if hidden_size in allowed:
        return None
    return (
        f"params.yaml: distill.hidden_size is {hidden_size}. Allowed: null, or a multiple of the width of the teacher's"
        f" heads: {', '.join(map(str, allowed))}."
    )


def vocabulary_fault(tokenizer: Mapping[str, Any]) -> str | None:
    """Why the vocabulary of the tokenizer (tokenizer.json) cannot be cut; None where it can."""
    model = tokenizer.get("model") or {}
    found = model.get("type")
    if found == "Unigram" and model.get("unk_id") is None:
        found = "Unigram without an unknown token"
    if found == "BPE" and model.get("dropout"):
        found = "BPE that drops joined tokens by chance"
    if found in CUTTABLE:
        return None
    return (
        f"params.yaml: prune.vocabulary is corpus, and the tokenizer's type is {found}. Allowed for it: all."
        f" Vocabularies that can be cut: {', '.join(CUTTABLE)}."
    )
