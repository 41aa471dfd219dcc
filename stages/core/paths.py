"""Where every artifact stands, once. All paths hang on the project's root, so nothing depends on where it lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
HELD_OUT = "held_out"  # rows that no choice has seen, in a file of their own: `winnow seeds` alone measures on them
TRANSFER = "transfer"  # rows without labels, which a student hears its teacher on; where clean.unlabelled asks for them
BESIDE = (TRANSFER, HELD_OUT)  # splits that data may bring besides
MODELS = ("baseline", "teacher", "student", "pruned", "quantized")


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
    def unreadable(self) -> Path:
        """Parquet: origin, reason, detail, excerpt: the rows that `ingest` could not read."""
        return self.root / "artifacts/data/unreadable.parquet"

    @property
    def ingest_report(self) -> Path:
        return self.root / "metrics/data/ingest.json"

    @property
    def clean(self) -> Path:
        """Parquet: row_id, text, label, origin, split, kept (a JSON object of other columns); by split and row_id.

        The rows of the split `transfer` have no label."""
        return self.root / "artifacts/data/clean.parquet"

    @property
    def held_out(self) -> Path:
        """Parquet: the rows set aside, as in `clean`; often none. No model learns from them or is chosen by them."""
        return self.root / "artifacts/data/held_out.parquet"

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
    def data_profile(self) -> Path:
        """What kind of data this is: rows, shares of labels, lengths, common words."""
        return self.root / "metrics/data/profile.json"

    @property
    def released_data(self) -> Path:
        """The profile of the last released data, which new data is compared with; {} before the first release."""
        return self.root / "metrics/released_data.json"

    @property
    def data_report(self) -> Path:
        """Counts from source to split, labels, lengths, duplicates, examples; flows make Markdown of it."""
        return self.root / "metrics/data/report.json"

    @property
    def data_plots(self) -> Path:
        """A folder of CSV for DVC's plots: steps, reasons, labels, lengths."""
        return self.root / "artifacts/data/report"

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
    def token_pieces(self) -> Path:
        """JSON, where the tokenizer is a trained one: of each of its tokens, what it is to the pretrained one (ids)."""
        return self.tokenizer / "pieces.json"

    @property
    def token_report(self) -> Path:
        return self.root / "metrics/data/tokens.json"

    @property
    def logits(self) -> Path:
        """safetensors: `logits` (N, C) float32 of the teacher, in the order of the training tokens, then of those to
        transfer; and, where asked for, inner vectors of all their tokens, (tokens, width) float16, as `values.5`."""
        return self.root / "artifacts/logits.safetensors"

    @property
    def cache_report(self) -> Path:
        return self.root / "metrics/data/teacher_cache.json"

    @property
    def pruning_report(self) -> Path:
        return self.root / "metrics/data/pruning.json"

    def checkpoints(self, model: str) -> Path:
        """Of a run that is not over. No out of DVC's, which deletes those; a flow shares them between worktrees."""
        home = os.environ.get("WINNOW_CHECKPOINTS") or self.root / ".dvc/tmp/winnow/checkpoints"
        return Path(home) / model

    @property
    def locks(self) -> Path:
        return self.root / "artifacts/.locks"

    def seconds(self, stage: str) -> Path:
        """What the stage ("evaluate@student") took here last, as text; no out, as it is of this machine."""
        return self.root / "artifacts/.seconds" / stage

    def model(self, name: str) -> Path:
        return self.root / "artifacts/models" / name

    @property
    def co_teachers(self) -> Path:
        """Of the teachers but the first (finetune.teachers) a model's folder each, named by its seed; and reports.json,
        how each was trained: {} where there is one teacher."""
        return self.root / "artifacts/models/co_teachers"

    def curves(self, name: str) -> Path:
        """DVCLive's folder: a table a curve."""
        return self.root / "artifacts/curves" / name

    def training(self, name: str) -> Path:
        return self.root / "metrics/training" / f"{name}.json"

    def training_speed(self, name: str) -> Path:
        """How fast that was on this hardware: in git, and no out of DVC's, as it is another one each time."""
        return self.root / "metrics/training_speed" / f"{name}.json"

    def step_log(self, name: str) -> Path:
        """Lines of JSON: how a training went, as it went. They hold speeds, so they are no out of DVC's."""
        return self.root / "artifacts/step_logs" / f"{name}.jsonl"

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
    def quantization(self) -> Path:
        """What int8 cost on the validation rows, and which matrices stayed in float32 because of it."""
        return self.root / "metrics/quantization.json"

    @property
    def held_out_report(self) -> Path:
        """How good the models are on the rows set aside; what `winnow seeds` asks for, seed by seed."""
        return self.root / "artifacts/held_out.json"

    @property
    def seeds(self) -> Path:
        """What `winnow seeds` found: every model's quality with several seeds."""
        return self.root / "metrics/seeds.json"

    @property
    def comparison(self) -> Path:
        return self.root / "metrics/comparison.json"

    def quality(self, name: str) -> Path:
        return self.root / "metrics/quality" / f"{name}.json"

    def profile(self, name: str) -> Path:
        return self.root / "metrics/profile" / f"{name}.json"
