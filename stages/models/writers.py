"""Models that write, on modules of transformers: how those of every kind are built, changed, written and opened.

Files have transformers' own names, and each weight once: where the logits are made by the table of tokens, there is no
`lm_head.weight`. V tokens, H hidden width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, PretrainedConfig
from transformers.initialization import no_init_weights

from stages.core.contracts import Family, Head, Parts, Taps, Units
from stages.core.files import plain_names, read_json, refuse_remote_code, write_json
from stages.models.checkpoint import named_in_errors, weights_of

if TYPE_CHECKING:
    from stages.core.params.model import ModelParams

ATTENTION = "eager"  # as of encoders
HEAD = "lm_head.weight"
VOLATILE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
TABLE_OF_DISTANCES = "relative_attention_bias.weight"  # the first layer of a stack has it for all of them


class Kind(NamedTuple):
    """What differs between kinds of models that write (`model_type`)."""

    language: Callable[[Any], Any]
    """The class of transformers, with the layer that makes logits."""
    base: str
    """What stands before the names of all weights but that layer's."""
    table: str
    """The name of the table of tokens."""
    stacks: Mapping[str, str]
    """What stands before the number of a layer in the names of its weights -> config.json's name of their number."""
    neurons: str
    """config.json's name of the width of the feed-forward part."""
    dropouts: tuple[str, ...]
    prepare: Callable[[Any], None]
    """prepare(language): puts modules that Winnow can train and take apart in the place of some."""
    shrink: Callable[[Any, Mapping[str, Sequence[Sequence[int]]]], None]
    """shrink(language, heads): tells the layers which heads they have, once their matrices have the right shapes.

    `heads` as in Made; empty where all are there.
    """
    spread: Callable[[Any], float]
    """spread(config): the standard deviation of new embeddings."""
    transposed: tuple[str, ...] = ()
    """The endings of names whose matrices files have transposed (GPT-2's)."""
    ignored: tuple[str, ...] = ()
    """The endings of names that files have, and no model reads."""


class Borrowed(nn.Module):
    """Another module's weight, used in a second place: it is no weight of this module, so that it is there once."""

    def __init__(self, lender: nn.Embedding) -> None:
        super().__init__()
        self._lender = (lender,)  # in a tuple, as a module's attribute would be registered once more

    @property
    def weight(self) -> torch.Tensor:
        return self._lender[0].weight


class BorrowedTable(Borrowed):
    """The table of tokens, as the embeddings of another stack."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids (B, T) -> (B, T, H)."""
        return self._lender[0](input_ids)


class BorrowedHead(Borrowed):
    """The table of tokens, as the layer that makes logits."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden (..., H) -> logits (..., V)."""
        return functional.linear(hidden, self.weight)


class Writer(nn.Module):
    """A model of transformers that writes, and what Winnow keeps of it in config.json."""

    def __init__(self, language: Any) -> None:
        super().__init__()
        self.language = language
        """transformers' own, with all that it can: `past_key_values`, `generate`."""

    @property
    def config(self) -> Any:
        return self.language.config

    @property
    def table(self) -> nn.Embedding:
        """The embeddings of the tokens, (V, H)."""
        found: nn.Embedding = self.language.get_input_embeddings()
        return found

    @property
    def tied(self) -> bool:
        """Whether the logits are made by the table of tokens."""
        return isinstance(self.language.lm_head, Borrowed)


class Made(NamedTuple):
    """How a family makes its models of their parts."""

    kinds: Mapping[str, Kind]
    """By `model_type`."""
    wrap: Callable[[Any], Writer]
    units: Callable[[Any], Mapping[str, Sequence[Units]]]
    """As in Family."""
    heads: Callable[[Any], dict[str, list[list[int]]]] = lambda _: {}
    """heads(model): by stack and layer the heads that are left, where something else than their matrices is theirs."""

    def kind(self, config: Any) -> Kind:
        return self.kinds[config.model_type]


def built(made: Made, folder: Path, model: ModelParams, head: Head) -> Writer:
    """The model in `folder`; where model.scratch says its shape, with random weights and a table of one token.

    That table becomes one by `new_vocabulary`. Raises ValueError where the head is of another kind, and, with the name
    of the model, where a weight is missing or of another shape than config.json says.
    """
    if head.kind != "vocabulary":
        raise ValueError(
            f"params.yaml: model.family is '{model.family}', whose models write, and the task wants a head of the kind"
            f" {head.kind}. Allowed for it: encoder."
        )
    with named_in_errors(model.name):
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            kind = made.kind(config)
            for name in kind.dropouts:
                setattr(config, name, model.encoder_dropout)
            with torch.device("meta"):  # names and shapes alone
                known = kind.language(config)
        except Exception as error:  # whatever transformers and torch raise for values that make no model
            raise ValueError(f"no model can be made of its config.json: {type(error).__name__}: {error}") from None
        if model.scratch is not None:
            return _random(made, config)
        weights = _pretrained(kind, known, folder / "model.safetensors")
        return assembled(made, config, weights, {})


def _random(made: Made, config: Any) -> Writer:
    config.vocab_size = 1
    language = made.kind(config).language(config)
    kind = made.kind(config)
    weights = {name: _turned(kind, name, weight.detach()) for name, weight in language.named_parameters()}
    return assembled(made, config, weights, {})


def _pretrained(kind: Kind, known: Any, path: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint, by the names of our files but with all matrices as nn.Linear has them.

    Whether the logits have a layer of their own is for the file to say: some configurations are wrong about it.
    """
    base = known.get_submodule(kind.base.rstrip(".")) if kind.base else known
    needed = {f"{kind.base}{name}": None for name, _ in base.named_parameters()}
    needed = {name.removeprefix(kind.base): None for name in needed if name != HEAD and not name.endswith(kind.ignored)}
    found = weights_of(path, _without_head(base), list(needed), ignored=kind.ignored)
    weights = {f"{kind.base}{name}": found[name] for name in needed}
    own = _own_head(path)
    if own is not None and not torch.equal(own, weights[kind.table]):
        if own.shape != weights[kind.table].shape:
            raise ValueError(
                f"model.safetensors: {HEAD} has the shape {list(own.shape)}, and the table of tokens"
                f" {list(weights[kind.table].shape)}. Take both from the same model."
            )
        weights[HEAD] = own
    if own is None and known.config.tie_word_embeddings is False:
        raise ValueError(
            f"config.json says tie_word_embeddings: false, and model.safetensors has no {HEAD}. Save the whole model"
            " (AutoModelForCausalLM) with save_pretrained."
        )
    return {name: _turned(kind, name, weight.float()) for name, weight in weights.items()}


def _without_head(base: Any) -> nn.Module:
    if hasattr(base, "lm_head"):
        del base.lm_head
    return base


def _own_head(path: Path) -> torch.Tensor | None:
    """The layer that makes logits, where the checkpoint has one; it stands outside of the model's other weights."""
    with safe_open(path, framework="pt") as file:
        names = {plain: name for plain, name in plain_names(file.keys()).items() if f".{plain}".endswith(f".{HEAD}")}
        shortest = min(names, key=len, default=None)
        return None if shortest is None else file.get_tensor(names[shortest])


def _turned(kind: Kind, name: str, weight: torch.Tensor) -> torch.Tensor:
    """A matrix as files have it -> as nn.Linear has it, and back."""
    return weight.T.contiguous() if name.endswith(kind.transposed) else weight


def assembled(
    made: Made,
    config: PretrainedConfig,
    weights: Mapping[str, torch.Tensor],
    heads: Mapping[str, Sequence[Sequence[int]]],
) -> Writer:
    """A model of these weights; where layers were pruned, its matrices have the smaller shapes.

    `weights`: by the names of our files, with matrices as nn.Linear has them. `heads`: as in Made.
    """
    kind = made.kind(config)
    config = copy.deepcopy(config)
    config._attn_implementation = ATTENTION
    with no_init_weights():  # all of them are replaced
        language = kind.language(config).float()
    kind.prepare(language)
    if HEAD in weights:
        language.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
    else:
        language.lm_head = BorrowedHead(language.get_input_embeddings())
    config = language.config
    config.tie_word_embeddings = HEAD not in weights
    for name, module in language.named_modules():
        if isinstance(module, nn.Linear) and (shape := weights[f"{name}.weight"].shape) != module.weight.shape:
            module.weight.data = torch.zeros(shape)
            if module.bias is not None:
                module.bias.data = torch.zeros(shape[0])
            module.out_features, module.in_features = shape
    kind.shrink(language, heads)
    language.load_state_dict(weights)
    return made.wrap(language)


def weights_by_name(model: Any) -> dict[str, torch.Tensor]:
    """The model's weights by the names of our files, with matrices as nn.Linear has them."""
    return dict(model.language.state_dict())


def student(made: Made, teacher: Any, layers: Sequence[int]) -> nn.Module:
    """A copy of `teacher` with only its layers number `layers`, in that order, of each of its stacks.

    Raises ValueError for a layer that the teacher does not have.
    """
    config = copy.deepcopy(teacher.config)
    kind = made.kind(config)
    fewest = min(getattr(config, name) for name in kind.stacks.values())
    if too_high := [layer for layer in layers if layer >= fewest]:
        raise ValueError(
            f"params.yaml: distill.teacher_layers has {too_high[0]}. Allowed: 0 to {fewest - 1},"
            f" as the teacher has {fewest} layers{'' if len(kind.stacks) == 1 else ' in its smaller stack'}."
        )
    weights = weights_by_name(teacher)
    stay = {name for name in weights if not name.startswith(tuple(kind.stacks)) or name.endswith(TABLE_OF_DISTANCES)}
    kept = {name: weights[name].clone() for name in stay}
    for stack, count in kind.stacks.items():
        setattr(config, count, len(layers))
        for new, old in enumerate(layers):
            own = [name for name in weights if name.startswith(f"{stack}{old}.") and name not in stay]
            kept |= {f"{stack}{new}.{name.removeprefix(f'{stack}{old}.')}": weights[name].clone() for name in own}
    heads = {name: [own[layer] for layer in layers] for name, own in made.heads(teacher).items()}
    return assembled(made, config, kept, heads)


def cut_vocabulary(made: Made, model: Any, kept: Sequence[int], _max_tokens: int) -> nn.Module:
    """A copy, in evaluation mode, with only the tokens `kept`, renumbered in that order.

    All positions stay: texts that are written may be longer than those that were learned.
    """
    return new_vocabulary(made, model, [[old] for old in kept]).eval()


def new_vocabulary(made: Made, model: Any, pieces: Sequence[Sequence[int]]) -> nn.Module:
    """A copy whose token i has the mean of the embeddings of the tokens `pieces[i]`; of none, random ones.

    So it is with the layer that makes logits, where it has weights of its own. The caller has set torch's seed.
    """
    config = copy.deepcopy(model.config)
    kind = made.kind(config)
    weights = {name: weight.clone() for name, weight in weights_by_name(model).items()}
    for name in (kind.table, HEAD):
        if name in weights:
            old, spread = weights[name], kind.spread(config)
            rows = [old[list(of)].mean(0) if of else torch.randn(old.shape[1]) * spread for of in pieces]
            weights[name] = torch.stack(rows)
    config.vocab_size = len(pieces)
    _renumber_special(config, {of[0]: new for new, of in reversed(list(enumerate(pieces))) if len(of) == 1})
    return assembled(made, config, weights, made.heads(model))


def _renumber_special(config: Any, numbers: Mapping[int, int]) -> None:
    """The new numbers of the tokens that begin and end a text, and so on; None for those that are gone."""
    for name, old in list(vars(config).items()):
        if not name.endswith("_token_id"):
            continue
        if isinstance(old, list):
            setattr(config, name, [numbers[one] for one in old if one in numbers] or None)
        elif isinstance(old, int):
            setattr(config, name, numbers.get(old))


def write(made: Made, model: Any, folder: Path) -> None:
    """config.json (transformers', and ours under `winnow`) and model.safetensors, byte-stable."""
    kind, language = made.kind(model.config), model.language
    config = model.config.to_dict()
    for volatile in VOLATILE:
        config.pop(volatile, None)
    config["architectures"] = [type(language).__name__]
    if len(widths := {len(of) for of in made.units(model)["feed_forward"]}) == 1:
        config[kind.neurons] = min(widths)  # so that other programs can open pruned models
    heads = made.heads(model)
    ours = Head("vocabulary", len(model.table.weight)).described()
    config["winnow"] = {**ours, "heads": heads} if heads else ours
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    weights = {
        name: _turned(kind, name, weight.detach().float()).contiguous().cpu()
        for name, weight in weights_by_name(model).items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def opened(made: Made, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """The model that `write` wrote to `folder`, in evaluation mode; `weights` replace those in the folder."""
    refuse_remote_code(folder)
    ours = read_json(folder / "config.json")["winnow"]
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    kind = made.kind(config)
    found = weights or load_file(folder / "model.safetensors")
    turned = {name: _turned(kind, name, weight) for name, weight in found.items()}
    return assembled(made, config, turned, ours.get("heads", {})).eval()


def cannot(family: str, purpose: str, setting: str) -> ValueError:
    """The error for what a family of models that write cannot do."""
    return ValueError(f"params.yaml: a model of the family '{family}' cannot be {purpose}. Allowed for it: {setting}.")


def family(name: str, made: Made, *, parts: Callable[[nn.Module], Parts], taps: Callable[[nn.Module], Taps]) -> Family:
    """The family `name` of such models: what all of them have in common, with `parts` and `taps` of its own."""

    def narrower(*_: Any) -> NoReturn:
        raise cannot(name, "made narrower", "distill.hidden_size null")

    return Family(
        build=partial(built, made), parts=parts, student=partial(student, made), units=made.units, readers=narrower,
        narrower=narrower, taps=taps, cut_vocabulary=partial(cut_vocabulary, made),
        new_vocabulary=partial(new_vocabulary, made), write=partial(write, made), open=partial(opened, made),
    )  # fmt: skip
