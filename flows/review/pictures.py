"""Pictures of a review, for comments of platforms that take some: two of the page's charts as PNG, in light colours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.review.evidence import Review
from flows.review.page.charts import CONFIG, charts_of, matrix_key
from flows.review.page.document import TEMPLATES

WIDTH = 640  # CSS pixels
SCALE = 2.0  # of the picture, for screens with fine pixels


def write(review: Review, folder: Path) -> list[Path]:
    """Write the pictures that the review has data for; earlier ones that it has no data for go. Returns their paths."""
    written = []
    for name, specification in _chosen(review):
        path = folder / f"{name}.png"
        if specification is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(picture(specification))
            written.append(path)
    return written


def _chosen(review: Review) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The models by latency and quality, and how the candidate's confusions changed."""
    charts = dict(charts_of(review))
    yield "models", charts.get("scatter")
    yield "confusions", charts.get(matrix_key(review, review.candidate))


def picture(specification: dict[str, Any]) -> bytes:
    """A chart of the page as PNG. It holds its data, and nothing is loaded."""
    import vl_convert

    sized = {**specification, "width": WIDTH, "background": "var(--paper)"}
    return bytes(
        vl_convert.vegalite_to_png(_coloured(sized), scale=SCALE, config=_coloured(CONFIG), allowed_base_urls=[])
    )


def _coloured(content: dict[str, Any]) -> dict[str, Any]:
    """The same with the colours that the page's variables have by day."""
    style = (TEMPLATES / "review.css").read_text(encoding="utf-8").partition("}")[0]
    colours = dict(re.findall(r"(--[\w-]+): (#\w+)", style))
    text = re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], json.dumps(content))
    return dict(json.loads(text))
