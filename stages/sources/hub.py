"""Source `hub`: a dataset of the Hub at a pinned commit, or a local folder in the Hub's layout.

Both go through `datasets.load_dataset`, which runs no code of the dataset's. Its cache is a temporary folder:
DVC is the only cache.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import yaml
from datasets.config import REPOYAML_FILENAME
from huggingface_hub import DatasetCard, HfApi

from stages.core.contracts import IMAGE, RawRow, RejectedRow, as_kept, as_text
from stages.core.params.ingest import IngestParams
from stages.core.paths import BESIDE, TRANSFER
from stages.reading.errors import one_line
from stages.reading.links import refuse_links
from stages.reading.records import columns_of, values_in
from stages.reading.values import PATH, Wanted, fault_of, of_cell, wanted_columns

ANSWER_WITHIN = 10  # seconds, for the Hub's first answer
ROWS_AT_A_TIME = 1_000


def read(
    params: IngestParams,
    seed: int,  # noqa: ARG001 (every source is called so)
    *,
    structured: Collection[str] = frozenset(),
) -> Iterator[RawRow | RejectedRow]:
    """Rows by split, in the order of the dataset, with origins such as "train:17" (rows count from 1).

    The splits that `params.splits` names are read, that of transfer rows without its labels; of the usual ones one
    alone is no split. Lists and objects in the columns of the roles `structured` are given as JSON. Raises ValueError
    where the dataset, its configuration or a column is not there, and where its card names files outside it,
    ConnectionError where the Hub is out of reach.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-hub-") as cache:
        splits = _load(params, cache)
        wanted = wanted_columns(params, structured=structured)
        called = params.splits.by_name()
        names = [name for name in called if name in splits]
        if not names:
            raise ValueError(
                f"{_where(params)} has the splits {', '.join(splits)}, and ingest.splits names {', '.join(called)}. "
                "Say there what its splits are called."
            )
        usual = [name for name in names if called[name] not in BESIDE]
        for name in names:
            split = called[name] if called[name] in BESIDE or len(usual) > 1 else None
            for number, values in enumerate(_records(splits[name], wanted, params), start=1):
                origin = f"{name}:{number}"
                if found := fault_of(values, wanted, params.max_row_chars):
                    fault, start = found
                    yield RejectedRow(origin, *fault, start)
                else:
                    cell, label, *kept = values
                    text, image = of_cell(cell) if IMAGE in structured else (as_text(cell), None)
                    pair = as_text(kept.pop(0)) if params.columns.text_pair is not None else None
                    kept_text = as_kept(params.keep_columns, kept)
                    label = as_text(label) if split != TRANSFER else None
                    yield RawRow(text, label, origin, split, kept=kept_text, text_pair=pair, image=image)


def _load(params: IngestParams, cache: str) -> datasets.DatasetDict:
    """The dataset, with every split, and with "NA" and its like left as texts where it is made of csv files."""
    hub = params.hub
    if hub.dataset is None:
        if not Path(params.path).is_dir():
            raise FileNotFoundError(
                f"params.yaml: ingest.path is '{params.path}': no such folder, and ingest.hub.dataset "
                "is null. Name a dataset's folder, or a dataset's id on the Hub."
            )
        refuse_links(Path(params.path))
        _check_card(Path(params.path))
    else:
        _check_reach(hub.dataset, hub.revision)
    source = hub.dataset or str(Path(params.path).resolve())
    options: dict[str, Any] = {"name": hub.config, "cache_dir": cache}
    if hub.dataset:
        options["revision"] = hub.revision
    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(source, **options)
        within = f"hf://datasets/{hub.dataset}@" if hub.dataset else f"{source}/"
        _check_files(builder.config.data_files or {}, within, params)
        if hasattr(builder.config, "keep_default_na"):  # csv
            options["keep_default_na"] = False
            if builder.config.features is None:  # what pandas takes for numbers differs from file to file
                options["converters"] = {one.column: str for one in wanted_columns(params, structured=frozenset())}
        return datasets.load_dataset(source, **options)
    except ConnectionError as error:
        raise _out_of_reach(source, error) from None
    except _OutsideError:
        raise
    except (ValueError, OSError, yaml.YAMLError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{_where(params)} cannot be loaded: {one_line(error)}") from None


class _OutsideError(ValueError):
    """A dataset's card names files that are not the dataset's."""

    def __init__(self, where: str, name: str) -> None:
        super().__init__(
            f"{where} names the file '{name}', which is not in it. Allowed in its card (README.md,"
            f" {REPOYAML_FILENAME}): paths from the dataset's own folder. Put the file there, or take it out."
        )


def _check_card(folder: Path) -> None:
    """Raise ValueError where the card of a dataset's folder names files elsewhere, before anything reads them."""
    cards = [*_front_matter(folder / "README.md"), *_yaml(folder / REPOYAML_FILENAME)]
    for name in (name for card in cards for name in _paths(card.get("configs"))):
        if name.startswith(("/", "~")) or ":" in name or "\\" in name or ".." in Path(name).parts:
            raise _OutsideError(f"the dataset folder {folder}", name)


def _front_matter(readme: Path) -> Iterator[dict[str, Any]]:
    if readme.is_file():
        with contextlib.suppress(ValueError, TypeError, yaml.YAMLError):  # `datasets` says what is wrong with it
            yield DatasetCard.load(readme, ignore_metadata_errors=True).data.to_dict()


def _yaml(path: Path) -> Iterator[dict[str, Any]]:
    card = None
    if path.is_file():
        with contextlib.suppress(ValueError, yaml.YAMLError):  # the same
            card = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(card, dict):
        yield card
    elif card is not None:
        raise ValueError(f"{path} holds no keys with values, such as configs. Mend it, or take it out.")


def _paths(configs: Any) -> Iterator[str]:
    """Every text under `data_files` and `data_dir` of a card's configurations; names among them do no harm."""
    if isinstance(configs, str):
        yield configs
    elif isinstance(configs, list):
        for one in configs:
            yield from _paths(one)
    elif isinstance(configs, dict):
        for key, value in configs.items():
            if key in ("data_files", "data_dir", "path", "config_name", "split"):
                yield from _paths(value)


def _check_files(files: Mapping[str, Iterable[str]], within: str, params: IngestParams) -> None:
    """Raise ValueError where a file that `datasets` has found is not `within` the dataset, however it was named."""
    for file in (str(file) for found in files.values() for file in found):
        if not file.startswith(within) or ".." in Path(file).parts:
            raise _OutsideError(_where(params), file)


def _check_reach(dataset: str, revision: str | None) -> None:
    """Ask the Hub one quick question, because `load_dataset` itself retries for half a minute."""
    try:
        HfApi().dataset_info(dataset, revision=revision, timeout=ANSWER_WITHIN)
    except Exception as error:  # the client's kinds of errors change between releases
        if getattr(error, "response", None) is None:
            raise _out_of_reach(dataset, error) from None
        found = f"params.yaml: ingest.hub is '{dataset}' at {revision}, which the Hub refuses"
        raise ValueError(f"{found}: {one_line(error)}") from None


def _out_of_reach(dataset: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"the Hub is out of reach for '{dataset}' ({one_line(error)}). Where there is a network, run "
        f"`hf download {dataset} --repo-type dataset --local-dir FOLDER`; then set ingest.path to that "
        "FOLDER and ingest.hub.dataset to null."
    )


def _records(split: datasets.Dataset, wanted: Sequence[Wanted], params: IngestParams) -> Iterator[Sequence[Any]]:
    """The wanted values of each row, with the names of labels in the place of their numbers."""
    names = columns_of(split.column_names, wanted, _where(params))
    for name, one in split.features.items():
        if isinstance(one, datasets.Image):  # as it is stored: what decodes it has limits
            split = split.cast_column(name, datasets.Image(decode=False))
    feature = split.features.get(params.columns.label)
    rows = split.select_columns(list(dict.fromkeys(names)))
    try:
        for batch in rows.iter(ROWS_AT_A_TIME):
            for cells in zip(*(batch[name] for name in names), strict=True):
                text, label, *others = values_in(cells, names, wanted, _where(params))
                yield _within(text, params), _named(feature, label), *others
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{_where(params)} has texts that are not UTF-8 ({error.reason}). Download it, and read its files with "
            "ingest.source: files, which puts such rows into quarantine."
        ) from None


def _within(cell: Any, params: IngestParams) -> Any:
    """An image's cell with its path from the dataset's folder, where it lies there; any other cell as it is."""
    if not isinstance(cell, dict) or not isinstance(path := cell.get(PATH), str):
        return cell
    folder = Path(params.path).resolve()
    return {**cell, PATH: str(Path(path).relative_to(folder))} if Path(path).is_relative_to(folder) else cell


def _named(feature: Any, value: Any) -> Any:
    """A stored value with a ClassLabel's names for its numbers (-1 is a missing one), also in lists."""
    if isinstance(feature, datasets.ClassLabel):
        return None if value is None or value < 0 else str(feature.int2str(value))
    if isinstance(value, list) and isinstance(feature, datasets.List | datasets.LargeList):
        return [_named(feature.feature, one) for one in value]
    return value


def _where(params: IngestParams) -> str:
    hub = params.hub
    return f"the dataset '{hub.dataset}'" if hub.dataset else f"the dataset folder {params.path}"
