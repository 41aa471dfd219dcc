"""The released model on the candidate's own test rows, so that the gate compares like with like when data is new."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.dvc import storage
from flows.releases.model import model_of
from flows.review.evidence import Results
from flows.review.model_results import clean_texts, results
from flows.review.side import Side
from stages.core.contracts import Generation, Text
from stages.core.model_folder import describe, reads_images
from stages.core.paths import Paths
from stages.reading.pixels import Images

MADE = ("size", "fit", "background")  # how images become pixels


def rejudged(root: Path, revision: str) -> Callable[[Results], Results]:
    """A function that gives the results of the model released at `revision` on a candidate's rows (project at `root`).

    Where the rows are those of the release, it takes the answers from then, if they can be had; else the model answers
    all rows anew, as one does that was released without having been evaluated.
    """

    def on_rows_of(candidate: Results) -> Results:
        before = Side(root, revision)
        # The model that was released then, even if this project would now release another of its models.
        model = model_of(before.yaml(root / "params.yaml"), revision)
        known = results(before, model)
        rows = Side(root, None).hash_of(Paths(root).clean)
        if len(known.row_ids) and rows is not None and rows == before.hash_of(Paths(root).clean):
            return known
        if known.task != candidate.task:  # its answers are of another form: the comparison says so
            return known
        answers, scores_N = _answers(before, model, candidate)
        return dataclasses.replace(
            known,
            row_ids=candidate.row_ids,
            sources=candidate.sources,
            units=candidate.units,
            truths=candidate.truths,
            answers=answers,
            scores_N=scores_N,
            confidence_N=None,
            slices={},
            own={},
        )

    return on_rows_of


def _with_images(root: Path, texts: Sequence[Text], description: Mapping[str, Any]) -> list[Text]:
    """The rows of a model that reads images with the images that they name; other rows as they are.

    Raises ValueError where the images cannot be had, or are made otherwise than for the model with that model.json.
    """
    if not reads_images(description):
        return list(texts)
    here = Side(root, None)
    content = here.artifact(Paths(root).images)
    made, known = (
        {key: of[key] for key in MADE}
        for of in (here.yaml(root / "params.yaml")["ingest"]["images"], description["images"])
    )
    if content is None:
        raise ValueError("artifacts/data/images.arrow cannot be had, so the released model has no images to look at.")
    if made != known:
        raise ValueError(f"params.yaml: ingest.images is {made}, and the released model looks at images of {known}.")
    images = Images(content)
    return [text if isinstance(text, str) else (images.image(str(text[0])), text[1]) for text in texts]


def _answers(released: Side, model: str, candidate: Results) -> tuple[np.ndarray, np.ndarray]:
    """(N,) answers to the candidate's rows, all in one call, as `evaluate` does it; and their scores.

    Raises ValueError where there are no texts, or the model is not the one that was released.
    """
    from stages.measures.opened import opened

    root, revision = released.root, str(released.commit)
    texts = clean_texts(Side(root, None))
    if not texts:
        raise ValueError("artifacts/data/clean.parquet cannot be had, so the released model has no texts to answer.")
    asked = [texts[str(row)] for row in candidate.row_ids]
    path = Paths(root).model(model).relative_to(root).as_posix()
    # In the worktree, which is removed also after a run that was killed.
    with tempfile.TemporaryDirectory(dir=root / ".dvc") as folder:
        target = Path(folder, model)
        storage.get(root, path, target, revision=revision)
        if storage.folder_md5(target) != (released.hash_of(Paths(root).model(model)) or "").removesuffix(".dir"):
            raise ValueError(
                f"{path} of {revision[:7]} is not what dvc.lock says: its bytes changed. It judges nothing."
            )
        settings = released.yaml(root / "params.yaml").get("generate")
        known = opened(target, None if settings is None else Generation.of(settings))  # as its own figures were made
        answers = known.ask(_with_images(root, asked, describe(target))).answers
        return np.array(answers, dtype=object), known.of_measures.scores(candidate.truths.tolist(), answers)
