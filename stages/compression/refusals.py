"""Checks before any training for settings that `cache_logits`, `distill`, `prune` and `quantize` would refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import read_object
from stages.core.lacks import LACKS

if TYPE_CHECKING:
    from stages.core.contracts import Reader, Units
    from stages.core.params.file import Params

CUTTABLE = ("BPE", "Unigram", "WordPiece")  # those of KINDS in pieces.py
WIDTHS = (("hidden_size", "num_attention_heads"), ("dim", "n_heads"))  # what configurations call width and heads
# Kinds of models that can be trained, but not taken apart within a layer.
UNKNOWN_LAYERS = ("albert", "deberta", "deberta-v2", "megatron-bert", "mpnet", "rembert")
# Kinds of which heads and neurons can be pruned, but which have parts that cannot be made narrower.
FIXED_WIDTH = ("mobilebert", "roberta-prelayernorm", "roc_bert", "xlm-roberta-xl")


def faults_of_folder(folder: Path, params: Params) -> Iterator[str]:
    """Faults that a model folder's tokenizer.json and config.json show, a line each; none where the files are missing.

    `refuse_unprunable` sees more: it has the model.
    """
    tokenizer, config = folder / "tokenizer.json", folder / "config.json"
    if (
        params.prune.vocabulary == "corpus"
        and tokenizer.is_file()
        and (fault := vocabulary_fault(read_object(tokenizer)))
    ):
        yield fault
    about = read_object(config) if config.is_file() else {}
    kind, hidden_size = about.get("model_type"), params.distill.hidden_size
    # `prune` cuts the student; where that is of another family, this model's layers need not be cut.
    wanted = [] if "units" in _lacked(params.distill.family) else _shares_below_1(params)
    wanted += ["cache_logits.vectors: []"] if params.cache_logits.vectors else []
    wanted += [] if hidden_size is None else ["distill.hidden_size: null"]
    if kind in UNKNOWN_LAYERS and wanted:
        yield (
            f"params.yaml: model.name is '{params.model.name}', of the kind {kind}, whose layers cannot be taken apart."
            f" Set {', '.join(wanted)}."
        )
    elif hidden_size is not None and kind in FIXED_WIDTH:
        yield (
            f"params.yaml: model.name is '{params.model.name}', of the kind {kind}, which cannot be made narrower."
            " Set distill.hidden_size: null."
        )
    elif hidden_size is not None:
        sizes = [(about[width], about[heads]) for width, heads in WIDTHS if width in about and heads in about]
        if sizes and (fault := width_fault(hidden_size, width=sizes[0][0], heads=sizes[0][1])):
            yield fault


def faults_of_student(params: Params) -> Iterator[str]:
    """The settings of params.yaml that the families of teacher and student do not support, one line each."""
    if "pretrained_weights" in _lacked(params.model.family):
        allowed = ", ".join(name for name, lacked in LACKS.items() if "pretrained_weights" not in lacked)
        yield (
            f"params.yaml: model.family is '{params.model.family}', which has no pretrained weights. Allowed:"
            f" {allowed}. For such a student set distill.family to it."
        )
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
    found = (tokenizer.get("model") or {}).get("type")
    if found in CUTTABLE:
        return None
    return (
        f"params.yaml: prune.vocabulary is corpus, and the tokenizer's type is {found}. Allowed for it: all."
        f" Vocabularies that can be cut: {', '.join(CUTTABLE)}."
    )
