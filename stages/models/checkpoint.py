"""The weights of a checkpoint, by the names of a module: whatever prefix a checkpoint puts before them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from stages.core.files import BUFFERS, one_prefix, plain, plain_names, prefixes, some


@contextlib.contextmanager
def named_in_errors(name: str) -> Iterator[None]:
    """Whatever a model's files are refused for becomes a ValueError of one line, with `model.name`."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"params.yaml: model.name is '{name}': its model.safetensors cannot be read ({error})."
            " Fetch or write it again."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"params.yaml: model.name is '{name}': {' '.join(str(error).split())}") from None


def weights_of(
    path: Path, known: nn.Module, needed: Sequence[str], *, ignored: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """The weights in the file at `path` by the names of the module `known`; what the file has besides is left out.

    `needed`: the names that may not be missing. `ignored`: the endings of names that files have within layers, and no
    model reads. Raises ValueError where the weights are not those of the module.
    """
    expected = {name: list(weight.shape) for name, weight in known.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        matches = _matched(file.keys(), expected, needed, ignored)
        shapes = {name: file.get_slice(source).get_shape() for name, source in matches.items()}
        if wrong := [name for name in needed if shapes[name] != expected[name]]:
            raise ValueError(
                f"model.safetensors: {matches[wrong[0]]} has the shape {shapes[wrong[0]]}, and by config.json it is"
                f" {expected[wrong[0]]}; so it is with {len(wrong)} of {len(needed)} weights. Take config.json and"
                " model.safetensors from the same model."
            )
        fitting = {name: source for name, source in matches.items() if shapes[name] == expected[name]}
        return {name: file.get_tensor(source) for name, source in fitting.items()}


def _matched(
    found: Collection[str], known: Collection[str], needed: Collection[str], ignored: tuple[str, ...]
) -> dict[str, str]:
    """The name in the checkpoint of each weight of the model that the checkpoint has.

    `found`: the names in the checkpoint; `known`: those of the model; `needed`: those of them that it cannot do
    without. Names match under one prefix: all weights are taken from the same place. Raises ValueError with names and
    numbers where a needed one is missing, where layers are left over, and where two whole models are in the checkpoint.
    """
    sources = plain_names(found)
    counts = prefixes(sources, known)
    whole = [prefix for prefix in counts if all(f"{prefix}{name}" in sources for name in needed)]
    if len(whole) > 1 and "" not in whole:
        raise ValueError(
            f"it has {len(whole)} whole models, under {', '.join(map(repr, sorted(whole)))}. Allowed: one. Save the"
            " model that you want with save_pretrained."
        )
    prefix = one_prefix(whole, counts)
    matches = {name: sources[prefix + name] for name in known if prefix + name in sources}
    taken = set(matches.values())
    others = [name for name in found if name not in taken and not plain(name).endswith(ignored)]
    if missing := [name for name in needed if name not in matches]:
        raise ValueError(
            f"{len(missing)} of the {len(needed)} weights that it needs are not in model.safetensors"
            f" ({some(missing)}), which has {len(others)} others ({some(others)}). Allowed: transformers' own names,"
            " all under one prefix. Save the whole model with save_pretrained."
        )
    if beyond := _within_layers(others, prefix, known):
        raise ValueError(
            f"model.safetensors has {len(beyond)} weights in its layers that config.json leaves no place for"
            f" ({some(beyond)}). Correct config.json (num_hidden_layers), or merge adapters into the weights, and save"
            " the whole model with save_pretrained."
        )
    return matches


def _within_layers(others: Iterable[str], prefix: str, known: Iterable[str]) -> list[str]:
    """Those of the names that belong to the list of layers, without its old buffers."""
    stacks = tuple({prefix + name[: at + 1] for name in known if (at := _before_number(name)) is not None})
    return [
        name for name in others if stacks and plain(name).startswith(stacks) and name.rpartition(".")[2] not in BUFFERS
    ]


def _before_number(name: str) -> int | None:
    """The position of the dot before the first number in the name; None where there is no number."""
    parts = name.split(".")
    at = next((at for at, part in enumerate(parts) if part.isdecimal()), None)
    return None if not at else len(".".join(parts[:at]))
