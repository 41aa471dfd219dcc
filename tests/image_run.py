"""Images and their texts, through the stages, in one process: python tests/image_run.py FOLDER [MODELS].

An image is a shape of a colour at a place; its text names the colour and the shape. MODELS: to be trained as well.
"""

from __future__ import annotations

import csv
import itertools
import random
import sys
from pathlib import Path
from typing import Any

from conftest import REPOSITORY
from PIL import Image, ImageDraw
from small_run import DATA, FLOORS, MODELS, go_through, small

from stages.compare import compare
from stages.core.params.file import Params, load_params
from stages.core.paths import MODELS as NAMES

COLOURS = {
    "river": (0, 0, 255),
    "forest": (0, 160, 0),
    "bread": (200, 120, 40),
    "moss": (60, 90, 0),
    "wave": (0, 200, 255),
}
SHAPES = ("ship", "owl", "butter")
COPIES = 12
SIDE = 32


def drawn(colour: tuple[int, int, int], shape: str, draw: random.Random) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    x, y, size = draw.randrange(2, 12), draw.randrange(2, 12), draw.randrange(12, 18)
    pen, box = ImageDraw.Draw(image), (x, y, x + size, y + size)
    shade = tuple(min(255, max(0, part + draw.randrange(-25, 25))) for part in colour)
    if shape == "ship":
        pen.rectangle(box, fill=shade)
    elif shape == "owl":
        pen.ellipse(box, fill=shade)
    else:
        pen.line((x, y, x + size, y + size), fill=shade, width=4)
    return image


def settings(root: Path) -> Params:
    """The project's params.yaml, with a tiny encoder of texts, a tiny tower of images and few epochs."""
    losses = load_params(REPOSITORY / "params.yaml").distill.losses.model_dump(by_alias=True)
    data, draw = root / "data", random.Random(3)
    (data / "drawings").mkdir(parents=True)
    rows: list[tuple[str, str, str]] = []
    for number, (colour, shape) in enumerate(list(itertools.product(COLOURS, SHAPES)) * COPIES):
        name = f"drawings/{number}.png"
        drawn(COLOURS[colour], shape, draw).save(data / name)
        rows.append((name, f"the {shape} near a {colour}", f"{colour} {shape}"))
    (data / "drawings/torn.png").write_bytes((data / "drawings/0.png").read_bytes()[:90])
    rows += [("drawings/torn.png", "the owl", "x"), ("drawings/none.png", "a ship", "x"), ("../params.yaml", "a", "x")]
    with (data / "drawings.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption", "kind"), *rows])
    tower = {"size": 16, "patch": 4, "depths": [1, 1], "widths": [32, 32], "projection": 24}
    images = {"size": 16, "fit": "pad", "background": [255, 255, 255], "min_side": 2, "max_side": 4096,
              "max_pixels": 4_000_000, "max_bytes": 1_000_000}  # fmt: skip
    changes: dict[str, dict[str, Any]] = {
        "task": {"name": "image_text_matching", "measure": "recall_at_1"},
        "ingest": {"source": "files", "path": str(data), "keep_columns": ["kind"], "images": images,
                   "columns": {"text": "image", "text_pair": "caption", "label": "caption"}},
        "clean": {"test_fraction": 0.2, "validation_fraction": 0.15, "near_duplicate_jaccard": 1.0,
                  "near_image_bits": 0},
        "validate": {"min_labels": 1, "max_label_share": None},
        "tokenize": {"max_tokens": 12},
        "model": {"family": "two_towers", "image": tower, "image_augmentation": 0.3},
        "finetune": {"epochs": 12, "patience": 12, "batch_size": 30, "encoder_learning_rate": 2.0e-3,
                     "head_learning_rate": 3.0e-3, "freeze_embeddings": True, "freeze_layers": 2},
        "cache_logits": {"vectors": [], "layers": []},
        "distill": {"family": "two_towers", "losses": losses | {"hidden": 0.0, "embeddings": 0.0}, "hidden_size": None,
                    "teacher_layers": [0, 1], "batch_size": 30, "head_learning_rate": 3.0e-3},
        "quantize": {"max_loss": 1.0},
        "evaluate": {"zero_shot": {"column": "kind", "templates": ["{}", "the {}"]}},
        "promotion": {"max_ece": None},
    }  # fmt: skip
    return small(root, changes)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params = settings(root)
    if sys.argv[2:] == ["MODELS"]:
        compare(params, go_through(params, root, (*DATA, *FLOORS, *MODELS), evaluated=NAMES))
    else:
        go_through(params, root, (*DATA, *FLOORS), evaluated=("baseline", "static", "probe"))
