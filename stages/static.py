"""Stage `static`: a vector for each token of the vocabulary, and a linear head on their means; no network is left.

The pretrained encoder, as it is, reads each token alone, once. Its vectors get fewer dimensions (PCA), and rare tokens
count more in a row than common ones.
Source: model2vec, https://github.com/MinishLab/model2vec; Arora et al. 2017, "A simple but tough-to-beat baseline for
sentence embeddings", for the weights.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from tokenizers import Tokenizer

from stages.backends.static.features import Static, features
from stages.cleaning.rules import cleaning_of
from stages.core import plugins
from stages.core.contracts import Family, Head, inputs_of
from stages.core.entry import run_stage
from stages.core.files import publish
from stages.core.model_folder import leave_out, seal
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.models.pretrained import as_it_is, without_path
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.tasks.shared.left_out import left_out_of
from stages.training.batches import by_row, first_batches
from stages.training.described import described
from stages.training.frozen import read_by_head, some_of
from stages.training.linear_head import Featured, head_of
from stages.training.processes import own_device
from stages.training.rows import TokenRows, open_training_data


def static(params: Params, paths: Paths) -> None:
    """Write the static model: its tokenizer, vectors float16, and the head, which the validation rows chose.

    Tasks that write, and those of images, have none.

    Raises ValueError for an unknown family or task, and for a family without pretrained
    weights.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    data = open_training_data(paths)
    if (reason := left_out_of("static", task.head(data.space), images=data.images is not None)) is not None:
        leave_out(paths.model("static"), params.task.name, reason)
        return
    tokenizer = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    special = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    vectors_VD = fewer_dimensions(read_alone(params, paths, tokenizer, data.pad_id), params.static.dimensions, special)
    kept_VD = vectors_VD.astype(np.float16)
    table = Static(kept_VD.astype(np.float32), rarities(data.train, len(kept_VD), params.static.rarity, special))
    splits = (some_of(split, params.static.max_examples) for split in (data.train, data.validation))
    read = (Featured(rows, features_of(table, rows)) for rows in splits)
    chosen = head_of(
        *read, task=task, space=data.space, measure=params.task.measure,
        inverse_regularizations=params.static.inverse_regularizations,
    )  # fmt: skip
    how = chosen.described(params.task.measure)
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    description = described(
        replace(data, space=chosen.space), backend="static", task=params.task.name, cleaning=cleaning._asdict(),
        pretrained=without_path(params.model.name), per_token=data.train.per_token, **how,
    )  # fmt: skip
    weights = {"vectors": kept_VD, "weights": table.weights_V}
    with publish(paths.model("static")) as folder:
        folder.mkdir()
        shutil.copyfile(paths.tokenizer / "tokenizer.json", folder / "tokenizer.json")
        head = {"coefficients": chosen.head.coefficients_KF, "intercept": chosen.head.intercept_K}
        save_file(weights | head, folder / "model.safetensors")
        seal(folder, **description)


def read_alone(params: Params, paths: Paths, tokenizer: Tokenizer, pad_id: int) -> np.ndarray:
    """(V, H): what the head of the pretrained model reads of each token, alone between the special ones."""
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    model = as_it_is(family, params.model, Head("row", 1), paths.token_pieces).to(own_device())
    return read_by_head(model, family.parts(model).head, each_alone(tokenizer), pad_id=pad_id, title="vocabulary")


def each_alone(tokenizer: Tokenizer) -> TokenRows:
    """A row for each token of the vocabulary, in the order of their numbers: the token between the special ones."""
    around, begin = tokenizer.encode("").ids, tokenizer.encode("a").special_tokens_mask.index(0)
    count, length = max(tokenizer.get_vocab().values()) + 1, len(around) + 1
    rows_VT = np.tile(np.insert(np.array(around, dtype=np.int32), begin, 0), (count, 1))
    rows_VT[:, begin] = np.arange(count)
    nothing = np.zeros(count, dtype=np.int32)
    return TokenRows([str(number) for number in range(count)], nothing, np.arange(count + 1) * length, rows_VT.ravel())


def fewer_dimensions(vectors_VH: np.ndarray, dimensions: int, special: list[int]) -> np.ndarray:
    """(V, D): the vectors on their first principal axes; 0 for the special tokens, which have no part in these.

    The largest component of each axis is positive: nothing else says which way it points. In float64, as float32 makes
    of another processor's last digits tenfold more.
    """
    others = np.setdiff1d(np.arange(len(vectors_VH)), special)
    plain_VH = vectors_VH.astype(np.float64)
    axes = PCA(min(dimensions, vectors_VH.shape[1], len(others)), svd_solver="covariance_eigh")
    found_VD = np.zeros((len(vectors_VH), axes.fit(plain_VH[others]).n_components_), dtype=np.float32)
    found_VD[others] = axes.transform(plain_VH[others])
    return found_VD


def rarities(rows: TokenRows, count: int, rarity: float, special: list[int]) -> np.ndarray:
    """(V,) float32: rarity / (rarity + p), p a token's share of the rows' tokens; 0 for the special ones."""
    ids = np.concatenate([rows[number]["input_ids"] for number in range(len(rows))])
    counts_V = np.bincount(ids, minlength=count).astype(np.float64)
    counts_V[special] = 0
    weights_V = rarity / (rarity + counts_V / max(1.0, counts_V.sum()))
    weights_V[special] = 0
    return weights_V.astype(np.float32)


def features_of(table: Static, rows: TokenRows) -> np.ndarray:
    """(N, F): the features of the rows, or (tokens, F) of their tokens where these have targets; in the rows' order.

    Of rows whose two texts are read apart (N, 2, F).
    """
    found, per_token = [], rows.per_token
    for batch in first_batches(rows, count=len(rows), pad_id=0):
        of_batch = features(table, *(tensor.numpy() for tensor in inputs_of(batch)), per_token=per_token)
        found.append(of_batch[batch["attention_mask"].numpy().astype(bool)] if per_token else by_row(of_batch, batch))
    return np.concatenate(found)


if __name__ == "__main__":
    run_stage(static)
