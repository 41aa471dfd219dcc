"""Section `ingest`: the source of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stages.core.params.values import Name, PluginName, PositiveInt, RelativeOrAbsolutePath, Revision, Section
from stages.core.paths import BESIDE, SPLITS

DatasetName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]


class DocstringsParams(Section):
    libraries: Annotated[list[PluginName], Field(min_length=1)]
    rows_per_library: PositiveInt
    held_out_rows_per_library: Annotated[int, Field(ge=0)]
    unlabelled_rows_per_library: Annotated[int, Field(ge=0)]
    min_chars: PositiveInt
    max_chars: PositiveInt


class HubParams(Section):
    dataset: DatasetName | None
    config: str | None
    revision: Revision | None

    @model_validator(mode="after")
    def _an_id_is_pinned(self) -> HubParams:
        if self.dataset is not None and self.revision is None:
            raise ValueError(
                "revision is null. A dataset on the Hub needs its commit, so that results can be reproduced"
            )
        return self


class SplitNames(Section):
    """The names of the splits in the data."""

    train: Name
    validation: Name
    test: Name
    transfer: Name | None
    held_out: Name | None

    @model_validator(mode="after")
    def _each_is_called_otherwise(self) -> SplitNames:
        if len(self.by_name()) < len(SPLITS) + sum(getattr(self, split) is not None for split in BESIDE):
            raise ValueError("two splits have the same name: which rows are which is unclear")
        return self

    def by_name(self) -> dict[str, str]:
        """The data's name -> train, validation, test and, where they exist, transfer and held_out, in this order."""
        return {name: split for split in (*SPLITS, *BESIDE) if (name := getattr(self, split)) is not None}


class Columns(Section):
    """The names of the columns in the data."""

    text: Name
    text_pair: Name | None
    label: Name


Byte = Annotated[int, Field(ge=0, le=255)]


class ImagesParams(Section):
    """How images are read, of rows that have some."""

    size: Annotated[int, Field(ge=8, le=1024)]
    fit: Literal["crop", "pad", "stretch"]
    background: Annotated[list[Byte], Field(min_length=3, max_length=3)]
    min_side: PositiveInt
    max_side: PositiveInt
    max_pixels: Annotated[int, Field(ge=1, le=178_000_000)]
    max_bytes: Annotated[int, Field(ge=1_000)]


class IngestParams(Section):
    source: PluginName
    path: RelativeOrAbsolutePath
    pattern: RelativeOrAbsolutePath | None
    encoding: Name
    max_row_chars: Annotated[int, Field(ge=1_000)]
    max_file_bytes: Annotated[int, Field(ge=1_000)]
    columns: Columns
    images: ImagesParams | None
    keep_columns: list[Name]
    split_column: Name | None
    splits: SplitNames
    docstrings: DocstringsParams
    hub: HubParams

    @property
    def is_outside(self) -> bool:
        """Whether `path` lies outside the project: absolute, or a URL."""
        return "://" in self.path or Path(self.path).is_absolute()

    @model_validator(mode="after")
    def _pairs_are_of_two_columns(self) -> IngestParams:
        pair = self.columns.text_pair
        if pair is not None and self.source == "docstrings":
            raise ValueError(
                f"columns.text_pair is '{pair}'. Allowed for the source docstrings: null, as it has single texts"
            )
        if pair == self.columns.text:
            raise ValueError(
                f"columns.text_pair is '{pair}', as columns.text is. Name the column of the second text, or set null"
                " where there is none"
            )
        return self

    @field_validator("encoding")
    @classmethod
    def _an_encoding_is_one_of_pythons(cls, name: str) -> str:
        try:
            "".encode("utf-8" if name == "auto" else name)
        except (LookupError, ValueError):
            raise ValueError(
                f"'{name}' is no encoding. Allowed: auto, or a codec of Python's, such as utf-8, utf-16, cp1252, "
                "latin-1, shift_jis, gb18030"
            ) from None
        return name
