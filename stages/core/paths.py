"""The paths of all artifacts, defined once. They depend on the project's root alone, so the project can be anywhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
HELD_OUT = "held_out"  # rows that no choice has seen, in a file of their own: `winnow seeds` alone measures on them
TRANSFER = "transfer"  # unlabelled rows, on which a student learns the teacher's answers; see clean.unlabelled
GROUPS = "groups.json"  # beside the tokens: the group of each training row, where `debias` treats them by group
BESIDE = (TRANSFER, HELD_OUT)  # splits that data may bring besides
MODELS = ("baseline", "static", "probe", "teacher", "student", "pruned", "quantized")


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
    def images(self) -> Path:
        """Arrow: name, pixels, likeness, width, height: the images that rows name, once each; often none."""
        return self.root / "artifacts/data/images.arrow"

    @property
    def unreadable(self) -> Path:
        """Parquet: origin, reason, detail, excerpt: the rows that `ingest` could not read."""
        return self.root / "artifacts/data/unreadable.parquet"

    @property
    def ingest_report(self) -> Path:
        return self.root / "metrics/data/ingest.json"

    @property
    def clean(self) -> Path:
        """Parquet: row_id, text, label, origin, split, group, kept (a JSON object of other columns).

        It is sorted by split and row_id. The rows of the split `transfer` have no label."""
        return self.root / "artifacts/data/clean.parquet"

    @property
    def held_out(self) -> Path:
        """Parquet: the rows set aside, as in `clean`; often none. No model is trained on them or chosen by them."""
        return self.root / "artifacts/data/held_out.parquet"

    @property
    def quarantine(self) -> Path:
        """Parquet: row_id, text, label, origin, reason: the rows that `clean` dropped."""
        return self.root / "artifacts/data/quarantine.parquet"

    @property
    def cleaning_report(self) -> Path:
        return self.root / "metrics/data/cleaning.json"

    @property
    def validation_report(self) -> Path:
        return self.root / "artifacts/data/validation.json"

    @property
    def data_profile(self) -> Path:
        """The profile of the data: rows, shares of labels, lengths, common words."""
        return self.root / "metrics/data/profile.json"

    @property
    def released_data(self) -> Path:
        """The profile of the last released data, with which new data is compared; {} before the first release."""
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
        """A folder a split, as datasets.save_to_disk writes it, and space.json beside them."""
        return self.root / "artifacts/data/tokens"

    @property
    def tokenizer(self) -> Path:
        return self.root / "artifacts/data/tokenizer"

    @property
    def token_pieces(self) -> Path:
        """JSON, where the tokenizer is a trained one: for each of its tokens, the ids of its pretrained pieces."""
        return self.tokenizer / "pieces.json"

    @property
    def token_report(self) -> Path:
        return self.root / "metrics/data/tokens.json"

    @property
    def logits(self) -> Path:
        """safetensors: `logits` (N, C) float32 of the teacher, and, where asked for, inner vectors.

        Rows are in the order of the training tokens, then of the transfer tokens. The vectors are those of all their
        tokens, (tokens, width) float16, as `values.5`.
        """
        return self.root / "artifacts/logits.safetensors"

    @property
    def cache_report(self) -> Path:
        return self.root / "metrics/data/teacher_cache.json"

    @property
    def pruning_report(self) -> Path:
        return self.root / "metrics/data/pruning.json"

    def checkpoints(self, model: str) -> Path:
        """Checkpoints of a run in progress. No out: DVC deletes outs, and a flow shares these between worktrees."""
        home = os.environ.get("WINNOW_CHECKPOINTS") or self.root / ".dvc/tmp/winnow/checkpoints"
        return Path(home) / model

    @property
    def locks(self) -> Path:
        return self.root / "artifacts/.locks"

    def seconds(self, stage: str) -> Path:
        """The seconds that `stage` ("evaluate@student") took here last, as text; no out, as it is of this machine."""
        return self.root / "artifacts/.seconds" / stage

    def model(self, name: str) -> Path:
        return self.root / "artifacts/models" / name

    @property
    def co_teachers(self) -> Path:
        """The teachers but the first (finetune.teachers), a model's folder each, named by its seed; and reports.json.

        That says how each was trained; it is {} where there is one teacher.
        """
        return self.root / "artifacts/models/co_teachers"

    def curves(self, name: str) -> Path:
        """DVCLive's folder: a table for each curve."""
        return self.root / "artifacts/curves" / name

    def training(self, name: str) -> Path:
        return self.root / "metrics/training" / f"{name}.json"

    def training_speed(self, name: str) -> Path:
        """The speed of that training on this hardware: in git, and no out of DVC's, as it differs each time."""
        return self.root / "metrics/training_speed" / f"{name}.json"

    def step_log(self, name: str) -> Path:
        """Lines of JSON: the progress of a training, point by point. They hold speeds, so they are no out of DVC's."""
        return self.root / "artifacts/step_logs" / f"{name}.jsonl"

    def predictions(self, name: str) -> Path:
        """Parquet: row_id, unit, truth, answer, score, confidence, `slice: COLUMN` of each; then the task's own."""
        return self.root / "artifacts/predictions" / f"{name}.parquet"

    def tables(self, name: str) -> Path:
        """A folder of CSV: reliability (low, high, rows, confidence, score), and the tables that the task shows."""
        return self.root / "artifacts/tables" / name

    @property
    def quantization(self) -> Path:
        """The loss through int8 on the validation rows, and the matrices that stayed in float32 because of it."""
        return self.root / "metrics/quantization.json"

    @property
    def held_out_report(self) -> Path:
        """The quality of the models on the rows set aside; `winnow seeds` has it measured, seed by seed."""
        return self.root / "artifacts/held_out.json"

    @property
    def seeds(self) -> Path:
        """The result of `winnow seeds`: every model's quality with several seeds."""
        return self.root / "metrics/seeds.json"

    @property
    def comparison(self) -> Path:
        return self.root / "metrics/comparison.json"

    def quality(self, name: str) -> Path:
        return self.root / "metrics/quality" / f"{name}.json"

    def profile(self, name: str) -> Path:
        return self.root / "metrics/profile" / f"{name}.json"
