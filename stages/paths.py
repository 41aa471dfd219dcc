"""Where every artifact stands, once. All paths hang on the project's root, so nothing depends on where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
MODELS = ("baseline", "teacher", "student", "quantized")


@dataclass(frozen=True)
class Paths:
    """The artifacts of the project at `root`. Everything under artifacts/ is DVC's or ignored; metrics/ is in git."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        """Parquet: row_id, text, label, origin, split, group and kept (null where the source brings none)."""
        return self.root / "artifacts/data/raw.parquet"

    @property
    def clean(self) -> Path:
        """Parquet: row_id, text, label, origin, split, kept (a JSON object of other columns); by split and row_id."""
        return self.root / "artifacts/data/clean.parquet"

    @property
    def quarantine(self) -> Path:
        """Parquet: row_id, text, label, origin, reason: what `clean` dropped."""
        return self.root / "artifacts/data/quarantine.parquet"

    @property
    def cleaning_report(self) -> Path:
        return self.root / "metrics/data/cleaning.json"

    @property
    def validation_report(self) -> Path:
        return self.root / "artifacts/data/validation.json"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages. They hold times, so they are no out of DVC's."""
        return self.root / "artifacts/data_docs"

    @property
    def tokens(self) -> Path:
        """A folder a split, as datasets.save_to_disk writes it, and labels.json beside them."""
        return self.root / "artifacts/data/tokens"

    @property
    def tokenizer(self) -> Path:
        return self.root / "artifacts/data/tokenizer"

    @property
    def token_report(self) -> Path:
        return self.root / "metrics/data/tokens.json"

    @property
    def logits(self) -> Path:
        """safetensors: `logits` (N, C) float32 of the teacher, in the order of the training tokens."""
        return self.root / "artifacts/logits.safetensors"

    @property
    def locks(self) -> Path:
        return self.root / "artifacts/.locks"

    def model(self, name: str) -> Path:
        return self.root / "artifacts/models" / name

    def curves(self, name: str) -> Path:
        """DVCLive's folder: a table a curve."""
        return self.root / "artifacts/curves" / name

    def training(self, name: str) -> Path:
        return self.root / "metrics/training" / f"{name}.json"

    def predictions(self, name: str) -> Path:
        """Parquet: row_id, label, predicted, `slice: COLUMN` of each slice, and `p_LABEL` of each label."""
        return self.root / "artifacts/predictions" / f"{name}.parquet"

    def confusion(self, name: str) -> Path:
        """CSV: actual, predicted; a line a test row."""
        return self.root / "artifacts/confusion" / f"{name}.csv"

    def reliability(self, name: str) -> Path:
        """CSV: low, high, rows, confidence, accuracy; a line a bin of the highest probability."""
        return self.root / "artifacts/reliability" / f"{name}.csv"

    @property
    def comparison(self) -> Path:
        return self.root / "metrics/comparison.json"

    def quality(self, name: str) -> Path:
        return self.root / "metrics/quality" / f"{name}.json"

    def profile(self, name: str) -> Path:
        return self.root / "metrics/profile" / f"{name}.json"
