"""Two towers, vectors of images and of texts in one space: CLIP, or an encoder of texts with a new image tower.

    images ──> image tower ──> a layer ─┐
                                        ├──> vectors whose products are cosines times a scale
    texts ───> text tower ───> a layer ─┘

B examples, T tokens, S pixels of a side, P numbers of a vector.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, ConvNextConfig

from stages.core.contracts import Family, Head, Parts, Units
from stages.core.files import read_json, read_object, refuse_remote_code, write_json
from stages.models import encoder as encoders
from stages.models.checkpoint import named_in_errors, weights_of
from stages.models.known_texts import KnownTexts, never_changes
from stages.models.layouts import stack_of
from stages.models.text_space import whitening
from stages.models.towers import (
    NEW_SCALE,
    OF_NEW,
    ImageTower,
    Projections,
    TextTower,
    new_image_config,
    pixels_of,
    units_of,
)

if TYPE_CHECKING:
    from stages.core.params.model import ModelParams

CLIP, OF_CLIP_TEXTS = "clip", "clip_text_model"
VECTOR = Head("vector", 0)
SCALE = "head.logit_scale"
# The names of CLIPModel's parts, and ours.
NAMES = (
    ("text_model.", "text.encoder."), ("vision_model.", "image.encoder."), ("text_projection.", "head.text."),
    ("visual_projection.", "head.image."), ("logit_scale", SCALE),
)  # fmt: skip


class TwoTowers(nn.Module):
    """The towers, `image` and `text`, and the layers behind them, `head`."""

    image: ImageTower
    text: Any
    head: Projections

    def __init__(self, image: ImageTower, text: nn.Module, size: int, *, new_images: bool) -> None:
        super().__init__()
        self.image, self.text = image, text
        self.new_images = new_images
        self.known = KnownTexts()
        self.head = Projections(image.width, self.text.encoder.config.hidden_size, size)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, pixel_values: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Ids and mask (B, T) int64, pixels (B, S, S, 3) uint8 -> vectors (B, 2, P), of each image and of its text.

        Without pixels those of the texts alone, (B, P). Their products are cosines times the scale.
        """
        known = self.training and never_changes(self.text.encoder)
        texts_BW = (
            self.known.read(self.text, input_ids, attention_mask) if known else self.text(input_ids, attention_mask)
        )
        texts_BP = self.head.of(self.head.text, texts_BW)
        return texts_BP if pixel_values is None else torch.stack([self.of_images(pixel_values), texts_BP], dim=1)

    def of_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pixels (B, S, S, 3) uint8 -> vectors (B, P)."""
        return self.head.of(self.head.image, self.image(pixel_values))


def build(folder: Path, model: ModelParams, head: Head) -> nn.Module:
    """The CLIP in `folder`; or the encoder of texts there, with a new image tower (model.image).

    The caller has set torch's seed. Raises ValueError, with the name of the model, where a weight is missing or of
    another shape; where there is an image tower too many, or none; and for a task that wants no vectors.
    """
    if head.kind != "vector":
        raise ValueError("params.yaml: model.family is 'two_towers'. Allowed with it: tasks of images and texts.")
    is_clip = read_object(folder / "config.json").get("model_type") == CLIP
    if is_clip == (model.image is not None):
        found = "a CLIP, which has an image tower" if is_clip else "an encoder of texts alone"
        raise ValueError(
            f"params.yaml: model.name is '{model.name}', {found}, and model.image is"
            f" {'a shape' if model.image else 'null'}. Allowed: null with a CLIP, a shape with an encoder."
        )
    if model.image is None:
        with named_in_errors(model.name):
            return _clip(folder, model)
    text = encoders.build(folder, model, VECTOR)
    image = ImageTower(new_image_config(model.image), *OF_NEW, model.image_augmentation)
    return TwoTowers(image, text, model.image.projection, new_images=True)


def _clip(folder: Path, params: ModelParams) -> nn.Module:
    config: Any = CLIPConfig.from_pretrained(folder, local_files_only=True)
    for tower in (config.text_config, config.vision_config):
        tower.attention_dropout = params.encoder_dropout
    with torch.device("meta"):
        known = CLIPModel._from_config(config)
    weights = weights_of(folder / "model.safetensors", known, [name for name, _ in known.named_parameters()])
    model = TwoTowers(
        ImageTower(config.vision_config, *pixels_of(folder), params.image_augmentation),
        TextTower(config.text_config),
        config.projection_dim,
        new_images=False,
    )
    ours = {_our_name(name): weight for name, weight in weights.items()}
    model.load_state_dict({**ours, SCALE: ours[SCALE].reshape(1)})
    return model


def _our_name(name: str) -> str:
    return next(ours + name.removeprefix(theirs) for theirs, ours in NAMES if name.startswith(theirs))


def parts(model: Any) -> Parts:
    """The towers with the texts' layers lowest, so that `freeze_layers` can freeze these; an image tower from random
    weights is a part of the head, which has the rate of what is new."""
    texts = tuple(stack_of(model.text.encoder) or ())
    embeddings = model.text.encoder.get_input_embeddings()
    if model.new_images:
        head = nn.ModuleList([model.image, model.head])
        return Parts(model.text.encoder, embeddings, texts, head, encoders.above_layers(model.text.encoder))
    towers, images = nn.ModuleList([model.text, model.image]), tuple(model.image.layers or ())
    names = ("final_layer_norm", "post_layernorm")
    above = [module for name, module in towers.named_modules() if name.rpartition(".")[2] in names]
    return Parts(towers, embeddings, (*texts, *images), model.head, above, (texts, images))


def first_values(model: Any, batches: Iterable[Mapping[str, torch.Tensor]]) -> None:
    """Beside a new image tower the texts' layer whitens the texts of the training rows, and stays so in this training,
    as the scale does: a few thousand texts teach neither as well. CLIP, whose layers are trained, is left as it is."""
    if not model.new_images:
        return
    model.eval()
    with torch.inference_mode():
        texts_NW = torch.cat([model.text(batch["input_ids"], batch["attention_mask"]) for batch in batches])
    with torch.no_grad():
        model.head.text.weight.copy_(whitening(texts_NW, model.head.text.out_features))
        model.head.logit_scale.fill_(NEW_SCALE)
    for fixed in (model.head.text.weight, model.head.logit_scale):
        fixed.requires_grad_(False)
    model.train()


def student(teacher: Any, layers: Sequence[int]) -> nn.Module:
    """A copy of `teacher` with only the layers number `layers`, in that order, of each of its towers.

    A ConvNeXt stays whole: it is small, and its blocks are of several widths.
    """
    copied = copy.deepcopy(teacher)
    if isinstance(copied.text, TextTower):
        _keep(copied.text, layers)
    else:
        copied.text = encoders.student(copied.text, layers)
    if copied.image.layers is not None:
        _keep(copied.image, layers)
    return copied


def _keep(tower: Any, layers: Sequence[int]) -> None:
    stack = stack_of(tower.encoder)
    assert stack is not None
    if too_high := [layer for layer in layers if layer >= len(stack)]:
        raise ValueError(
            f"params.yaml: distill.teacher_layers has {too_high[0]}. Allowed: 0 to {len(stack) - 1}, as a tower of the"
            f" teacher has {len(stack)} layers."
        )
    kept = [copy.deepcopy(stack[layer]) for layer in layers]
    del stack[:]
    stack.extend(kept)
    tower.encoder.config.num_hidden_layers = len(layers)


def units(model: Any) -> dict[str, list[Units]]:
    """The attention heads and the neurons of each layer of both towers, the texts' first."""
    towers = [units_of(tower) for tower in (model.text, model.image)]
    return {kind: [unit for own in towers for unit in own[kind]] for kind in ("heads", "feed_forward")}


def cut_vocabulary(model: Any, kept: Sequence[int], max_tokens: int) -> nn.Module:
    """A copy, in evaluation mode, with only the tokens `kept`, renumbered in that order."""
    cut = copy.deepcopy(model)
    if not isinstance(cut.text, TextTower):
        cut.text = encoders.cut_vocabulary(cut.text, kept, max_tokens)
        return cut.eval()
    embeddings, config = cut.text.encoder.embeddings, cut.text.encoder.config
    for table, rows in ((embeddings.token_embedding, list(kept)), (embeddings.position_embedding, slice(max_tokens))):
        table.weight = nn.Parameter(table.weight.detach()[rows].clone())
        table.num_embeddings = len(table.weight)
    positions = embeddings.position_embedding.num_embeddings
    embeddings.position_ids = embeddings.position_ids[:, :positions].clone()
    config.vocab_size, config.max_position_embeddings = len(kept), positions
    numbers = {old: new for new, old in enumerate(kept)}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, numbers.get(getattr(config, name)))
    cut.text.encoder.eos_token_id = config.eos_token_id
    return cut.eval()


def new_vocabulary(model: Any, pieces: Sequence[Sequence[int]]) -> nn.Module:
    """A copy whose token i has the mean of the embeddings of the tokens `pieces[i]`. ValueError for CLIP itself."""
    if isinstance(model.text, TextTower):
        raise ValueError(
            "params.yaml: tokenize.tokenizer is trained, and CLIP knows a text by the token that its own tokenizer puts"
            " at the end. Allowed for it: pretrained."
        )
    made = copy.deepcopy(model)
    made.text = encoders.new_vocabulary(made.text, pieces)
    return made


def write(model: Any, folder: Path) -> None:
    """config.json, with those of both towers, and model.safetensors, byte-stable."""
    text = encoders.stable(model.text.encoder.config)
    if not isinstance(model.text, TextTower):
        text["winnow"] = encoders.ours_of(model.text)
    image = {**encoders.stable(model.image.encoder.config), "winnow": model.image.ours}
    config = {
        "model_type": "two_towers", "text": text, "image": image, "projection": model.head.image.out_features,
        "new_images": model.new_images, "winnow": VECTOR.described(),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    weights = {name: tensor.detach().float().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def open_model(folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """The model that `write` wrote to `folder`, in evaluation mode; `weights` replace those in the folder."""
    refuse_remote_code(folder)
    config, found = read_json(folder / "config.json"), weights or load_file(folder / "model.safetensors")
    ours = config["image"].pop("winnow")
    kind = ConvNextConfig if config["image"]["model_type"] == "convnext" else CLIPVisionConfig
    image = ImageTower(kind(**config["image"]), **ours)
    model = TwoTowers(image, _text_tower(config["text"], found), config["projection"], new_images=config["new_images"])
    encoders.shape_as(model, found)
    model.load_state_dict(found)
    return model.eval()


def _text_tower(config: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> nn.Module:
    kind = config.pop("model_type")
    if kind == OF_CLIP_TEXTS:
        return TextTower(CLIPTextConfig(**config))
    own = {name.removeprefix("text."): weight for name, weight in weights.items() if name.startswith("text.")}
    ours = config.pop("winnow")
    return encoders.assemble(AutoConfig.for_model(kind, **config), ours, own)


def _whole(*_: Any) -> NoReturn:
    raise ValueError(
        "params.yaml: model.family is 'two_towers', whose towers have other widths each, so that it cannot be made"
        " narrower, nor compared by inner vectors. Set distill.hidden_size: null, cache_logits.vectors: []."
    )


FAMILY = Family(
    build=build, parts=parts, student=student, units=units, readers=_whole, narrower=_whole, taps=_whole,
    cut_vocabulary=cut_vocabulary, new_vocabulary=new_vocabulary, write=write, open=open_model,
    first_values=first_values,
)  # fmt: skip
