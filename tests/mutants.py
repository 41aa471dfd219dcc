"""Break important lines of the product, one at a time, in a copy, and see that the tests notice: `make mutants`.

    a copy of the repository ── one line is another ── the tests that should notice ── one fails: noticed
                                                                                     └─ all pass: the mutant survives

A mutant that survives is a line that nothing holds: write its test, or say in `survives` why none can be. Fails where
more than MAY_SURVIVE do, where one does without its why, and where a line or a test is no longer there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MAY_SURVIVE = 2
SECONDS = 120  # for the tests of one mutant: one that hangs is noticed


class Mutant(NamedTuple):
    file: str
    line: str  # once in the file
    instead: str
    tests: str  # pytest's arguments; light ones
    survives: str = ""  # why no test can notice


MUTANTS = (
    # Who sees which rows
    Mutant(
        "stages/reading/clean_rows.py",
        'pc.equal(table["split"], split)',
        'pc.equal(table["split"], "test")',
        "test_rows_by_split.py",
    ),
    Mutant(
        "stages/quantize.py",
        'for split in ("train", "validation"))',
        'for split in ("test", "validation"))',
        "test_rows_by_split.py",
    ),
    Mutant("stages/quantize.py", "np.linspace(0, len(texts) - 1, num=", "np.arange(0, ", "test_rows_by_split.py"),
    Mutant(
        "stages/cleaning/passages.py",
        "linked(own, pd.Series(kin[key[there]], own.index))",
        "own",
        "test_pairs.py -k 'one_passage or nearly_one'",
    ),
    Mutant("stages/cleaning/targets.py", "if data.quoted is None", "if True", "test_cleaning.py -k same_words"),
    # Measures
    Mutant(
        "stages/measures/calibration.py", " + log_temperature**2 / len(truths)", "", "test_measures.py -k right_make"
    ),
    Mutant(
        "stages/measures/group_gaps.py",
        "(there_1GK > 0).sum(axis=(0, 1)) > 1",
        "(there_1GK > 0).all(axis=(0, 1))",
        "test_bias.py -k leaves_the_others",
    ),
    Mutant(
        "stages/tasks/text_classification/measures.py",
        "np.maximum(given_RC + true_RC, 1)",
        "np.maximum(2 * true_RC, 1)",
        "test_paired.py -k sklearn",
    ),
    Mutant("stages/measures/score.py", "units / (units - 1)", "1", "test_paired.py -k alike"),
    Mutant("stages/measures/score.py", "rows * min(1.0, alone", "rows * max(1.0, alone", "test_paired.py -k units"),
    Mutant("stages/measures/paired.py", "draw.multinomial(units,", "draw.multinomial(4 * units,", "test_paired.py"),
    Mutant("stages/measures/score.py", "difference == estimate", "abs(difference - estimate) < 0.01", "test_paired.py"),
    Mutant("stages/measures/score.py", "at_margin + at_zero", "at_margin", "test_paired.py -k rows_needed"),
    Mutant(
        "stages/tasks/text_classification/measures.py",
        "sorted({*judged.truths, *judged.answers}",
        "sorted({*judged.truths}",
        "test_measures.py -k 'quality or no_test_row'",
    ),
    Mutant(
        "stages/measures/calibration.py",
        "np.ceil(confidence_N * bins)",
        "np.floor(confidence_N * bins)",
        "test_measures.py -k calibration",
    ),
    Mutant(
        "stages/tasks/text_classification/measures.py",
        "- 2 * of_truth + 1",
        "- of_truth + 1",
        "test_measures.py -k brier",
    ),
    Mutant(
        "stages/measures/calibration.py",
        "logits / np.exp(log_temperature)",
        "logits * np.exp(log_temperature)",
        "test_measures.py -k temperature",
    ),
    Mutant("stages/measures/group_gaps.py", "most_RK - least_RK", "most_RK", "test_bias.py -k counted_by_hand"),
    Mutant("stages/training/people.py", "expected_N / n_both[both_N]", "expected_N", "test_debias.py -k independent"),
    Mutant(
        "stages/tasks/shared/label_thresholds.py",
        "counts.true_C < FEWEST",
        "counts.true_C < 0",
        "test_label_thresholds.py -k few_rows",
    ),
    Mutant(
        "stages/measures/fairness.py", "if swap(one) == other", "if swap(other) == one", "test_bias.py -k no_way_back"
    ),
    Mutant(
        "stages/measures/paired.py",
        "return 1.0 if math.isfinite(measure.most) else",
        "return 1.0 if measure.most else",
        "test_regression.py -k another_unit",
    ),
    Mutant("stages/measures/group_gaps.py", "found - ROOM", "found", "test_bias.py -k told_apart"),
    Mutant("stages/tasks/shared/carrying.py", "MOST_PAIRS = 50_000", "MOST_PAIRS = 10**12", "test_spans.py -k no_time"),
    # The gate
    Mutant(
        "flows/review/model_results.py",
        "if same_rows(before, after):",
        "if True or same_rows(before, after):",
        "test_sentence_similarity.py -k ranks_among_other",
    ),
    Mutant(
        "flows/gate/promotion.py", "rules.measure, confidence", "rules.task.measures[-1], confidence", "test_margin.py"
    ),
    Mutant(
        "flows/gate/promotion.py",
        'outcome: Outcome = "fail" if "fail" in outcomes',
        'outcome: Outcome = "fail" if False',
        "test_promotion.py -k worse",
    ),
    Mutant(
        "flows/gate/rules.py",
        'return difference if self.measure.better == "higher" else -difference',
        "return difference",
        "test_promotion.py -k lower",
    ),
    # Kinds of models and of tokenizers
    Mutant(
        "stages/backends/onnxruntime_int8/layouts.py",
        "POSITIONS: table[skipped:]}",
        "POSITIONS: table}",
        "test_families.py -k 'puts_out and roberta'",
    ),
    Mutant(
        "stages/backends/onnxruntime_int8/relative.py",
        'table_RUD[::-1] if kind == "c2p"',
        'table_RUD if kind == "c2p"',
        "test_families.py -k 'puts_out and deberta'",
    ),
    Mutant(
        "stages/backends/onnxruntime_int8/writing/stepper.py",
        "first = int(self._shared_RR[moved, origin].min())",
        "first = int(self._shared_RR[moved, origin].max())",
        "test_writing_graphs.py -k 'any_order and gpt2'",
    ),
    Mutant(
        "stages/backends/onnxruntime_int8/writing/parts.py",
        '[sizes, "last_axis"]',
        "[sizes]",
        "test_writing_graphs.py -k 'other_rows and gpt2'",
    ),
    Mutant(
        "stages/backends/onnxruntime_int8/writing/t5.py",
        'return graph.node("Gather", [bias, own], f"{name}.bias", axis=1)',
        "return bias",
        "test_writing_graphs.py -k pruned",
    ),
    Mutant(
        "stages/backends/batching.py",
        "places[token][0] + len(inside) - len(inside.lstrip())",
        "places[token][0]",
        "test_fast_tokenizers.py -k blank",
    ),
    Mutant(
        "stages/compression/pieces.py", "made_of.get(token, [])", "[]", "test_vocabularies.py -k 'joined or as_before'"
    ),
    Mutant(
        "stages/compression/structured.py",
        "+ block * of_block",
        "+ 0 * of_block",
        "test_pruning.py -k blocks",
    ),
    # Models that write
    Mutant(
        "stages/models/decoder.py", "seen_BTT.sum(-1) - 1", "seen_BTT.sum(-1)", "test_writers.py -k 'gpt2 and those'"
    ),
    Mutant("stages/models/decoder.py", "(same_BTT & before_TT)", "before_TT", "test_writers.py -k packed"),
    Mutant(
        "stages/models/encoder_decoder.py",
        "whole[:, self.heads]",
        "whole[:, : len(self.heads)]",
        "test_writers.py -k heads",
    ),
    Mutant(
        "stages/models/writers.py",
        "own is not None and not torch.equal",
        "own is None and not torch.equal",
        "test_writers.py -k untied",
    ),
    # Training
    Mutant(
        "stages/tasks/text_classification/learning.py",
        "labels_B, ignore_index",
        "labels_B, weight=class_weights_C, ignore_index",
        "test_training.py -k 'rare_label or weighted'",
    ),
    Mutant(
        "stages/training/loop.py",
        "job.engine.deepspeed.module.train()",
        "job.engine.deepspeed.module.eval()",
        "test_distilled_vectors.py -k ended_early",
    ),
    Mutant("stages/tasks/shared/distillation.py", "* temperature**2", "* temperature", "test_training.py -k kd_loss"),
    Mutant(
        "stages/tasks/shared/distillation.py",
        "kl_div(student_log_p, teacher_log_p,",
        "kl_div(teacher_log_p, student_log_p,",
        "test_training.py -k kd_loss",
    ),
    Mutant(
        "stages/training/schedules.py",
        "(step + 1) / (warmup_steps + 1)",
        "step / (warmup_steps + 1)",
        "test_training.py -k rises",
    ),
    Mutant(
        "stages/training/schedules.py", "0.5 * (1.0 + math.cos", "0.5 * (1.0 - math.cos", "test_training.py -k cosine"
    ),
    Mutant(
        "stages/training/samplers.py",
        "chunk[process::processes]",
        "chunk[process::batches]",
        "test_training.py -k shares",
    ),
    Mutant(
        "stages/training/samplers.py",
        "random = np.random.default_rng([seed, epoch])",
        "random = np.random.default_rng([seed, 0])",
        "test_training.py -k seed_and_epoch",
    ),
    Mutant("stages/training/guards.py", "if not math.isfinite(loss):", "if loss > 1e30:", "test_training.py -k finite"),
    Mutant(
        "stages/training/guards.py",
        "if not torch.isfinite(tensor).all()",
        "if torch.isnan(tensor).all()",
        "test_training.py -k finite",
    ),
    Mutant(
        "stages/training/guards.py",
        "self.higher + 1 if mean > RUNAWAY * start else 0",
        "0",
        "test_training.py -k windows",
    ),
    Mutant(
        "stages/tasks/text_classification/learning.py",
        "labels_N, minlength=n_labels).clip(min=1)",
        "labels_N, minlength=n_labels).clip(min=2)",
        "test_training.py -k weighted",
    ),
    # Checkpoints and bytes
    Mutant(
        "stages/training/checkpoints.py",
        "if sha256(path / name) != expected:",
        "if False:",
        "test_checkpoints.py -k one_bit",
    ),
    Mutant(
        "stages/training/checkpoints.py",
        "for part in _code():",
        "for part in ():",
        "test_checkpoints.py -k another_run",
    ),
    Mutant(
        "stages/training/checkpoints.py", "yield Path(file).read_bytes()", "pass", "test_checkpoints.py -k another_run"
    ),
    Mutant(
        "stages/training/checkpoints.py",
        "any(Path(name).name != name for name in hashes)",
        "False",
        "test_checkpoints.py -k beside",
    ),
    Mutant(
        "stages/training/checkpoints.py",
        "draft.replace(target)",
        "shutil.copytree(draft, target)",
        "test_checkpoints.py",
    ),
    Mutant(
        "stages/core/model_folder.py",
        "sorted(found ^ expected.keys())",
        "sorted(expected.keys() - found)",
        "test_plumbing.py -k spoiled",
    ),
    Mutant(
        "stages/core/model_folder.py",
        'sha256(folder / name) != entry.get("sha256")',
        "False",
        "test_plumbing.py -k spoiled",
    ),
    Mutant(
        "stages/models/pretrained.py",
        "if found != model.sha256:",
        "if False:",
        "test_models.py -k not_those_named",
    ),
    Mutant(
        "stages/core/files.py",
        'path.is_file() and "auto_map" in read_object(path)',
        "False",
        "test_plumbing.py -k names_code",
    ),
    Mutant("stages/core/files.py", "allow_nan=False", "allow_nan=True", "test_plumbing.py -k nan"),
    # Releases
    Mutant("flows/releases/model.py", '".." in PurePosixPath(name).parts', "False", "test_release_files.py"),
    Mutant("flows/releases/model.py", "PurePosixPath(name).is_absolute() or", "", "test_release_files.py"),
    Mutant(
        "flows/releases/model.py",
        'storage.folder_md5(folder) != model.md5.removesuffix(".dir")',
        "False",
        "test_release_files.py",
    ),
    Mutant("flows/releases/model.py", "if storage.md5(path) != md5:", "if False:", "test_release_files.py"),
    # Secrets, parameters, cleaning
    Mutant("flows/running/masking.py", "pattern.sub(MASK, text)", "text", "test_masking.py -k 'variable or secret_of'"),
    Mutant("stages/core/params/values.py", 'extra="forbid"', 'extra="ignore"', "test_params.py -k unknown"),
    Mutant(
        "stages/cleaning/splits.py",
        "pool &= ~groups.isin(set(groups[~free & ~pool]))",
        "pass",
        "test_cleaning.py -k in_part",
    ),
    Mutant(
        "stages/cleaning/splits.py",
        "left = [total - 1 for total in totals]",
        "left = list(totals)",
        "test_cleaning.py -k few_rows",
    ),
    Mutant(
        "stages/cleaning/reasons.py", "name: faulty & ~given_test", "name: faulty", "test_cleaning.py -k given_test"
    ),
    # Distillation
    Mutant(
        "stages/tasks/text_classification/learning.py",
        "ignore_index=NO_LABEL",
        "ignore_index=0",
        "test_distillation.py -k 'without_labels'",
    ),
    Mutant(
        "stages/training/distillation.py",
        ".sum(1) / mask_BT.sum(1)",
        ".sum(1) / mask_BT.shape[1]",
        "test_distillation.py -k real_tokens",
    ),
    # Texts that are written
    Mutant(
        "stages/decoding/tokenwise.py",
        '[seed, int.from_bytes(digest[:16], "big")]',
        "[seed, 7]",
        "test_decoding.py -k shares",
    ),
    Mutant(
        "stages/decoding/beams.py",
        "worst = self._ended[-1][0]",
        "worst = self._ended[0][0]",
        "test_decoding.py -k 'token_for_token or length_penalty'",
    ),
    Mutant("stages/decoding/pieces.py", "max(0, known - len(stop) + 1)", "known", "test_decoding.py -k spans"),
    Mutant(
        "stages/backends/pytorch/stepping.py",
        "self._mask_RT = self._mask_RT[order]",
        "pass",
        "test_decoding.py -k hang_on",
    ),
    Mutant("stages/backends/writing.py", "one.ids[begin:][-CONTEXT:]", "()", "test_writing_runner.py -k blank"),
    Mutant(
        "stages/backends/runners.py",
        "(clean(text[0]), text[1])",
        "(clean(text[0]), clean(text[1]))",
        "test_text_writer.py -k cleaned",
    ),
    Mutant(
        "stages/tasks/shared/next_tokens.py",
        "student = torch.cat([student, _rest(student_PV, teacher.tokens, ~gone_Pk)[:, None]], 1)",
        "student = torch.cat([student, student_PV.logsumexp(1)[:, None]], 1)",
        "test_next_tokens.py -k 'one_class'",
    ),
    Mutant(
        "stages/training/whole_batch.py",
        "(values_B * weights_B).sum() / weights_B.sum().clamp(min=1)",
        "values_B.mean()",
        "test_writing_engine.py -k 'add_up and gpt2'",
    ),
    Mutant(
        "stages/training/loop.py",
        "share_of_step = job.weight(own) / job.weight(rows) if len(own) else 0.0",
        "share_of_step = len(own) / len(rows)",
        "test_writing_engine.py -k 'add_up and gpt2'",
    ),
    Mutant(
        "stages/tokens/writing.py",
        "[*[NO_LABEL] * repeated, *targets[start + repeated : end]]",
        "targets[start:end]",
        "test_next_tokens.py -k 'windows_learn'",
    ),
    Mutant(
        "stages/tokens/writing.py",
        "[*source[:room], writing.end]",
        "[*source, writing.end]",
        "test_next_tokens.py -k 'long_source'",
    ),
)


def copied(target: Path) -> Path:
    """The files of the repository as they are here, committed or not, at `target`."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def verdict(copy: Path, tests: str) -> tuple[int, str]:
    """pytest's exit code and last words for the tests of a mutant; a fork of a warm Python runs them."""
    sys.path.insert(0, str(copy / "tests"))
    import warm_python

    first, *more = tests.split(maxsplit=1)
    arguments = [f"tests/{first}", *(["-k", more[0].removeprefix("-k ").strip("'")] if more else [])]
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = f"import sys, pytest; sys.exit(pytest.main({[*options, *arguments]!r}))"
    command = [f"{warm_python.bin_folder()}/forked", "-c", code]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return 1, f"not over in {SECONDS} s"
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, (lines or [done.stderr.strip()[-200:]])[-1]


def without_mutants(copy: Path, mutants: Iterable[Mutant]) -> list[str]:
    """The faults of the list itself: lines that are not there once, and tests that fail, or are none, as it is."""
    faults = []
    for file, line, *_ in mutants:
        count = (copy / file).read_text(encoding="utf-8").count(line) if (copy / file).is_file() else 0
        if count != 1:
            faults.append(f"{file}: {line!r} is there {count} times. Give another line of what it was about.")
    for tests in dict.fromkeys(mutant.tests for mutant in mutants):
        code, said = verdict(copy, tests)
        print(f"as it is: {tests}: {said}", flush=True)
        if code != 0:
            faults.append(f"{tests}: without a mutant they end with {code}: {said}")
    return faults


def survivors(copy: Path, mutants: Iterable[Mutant]) -> list[Mutant]:
    """Make each mutant, and tell what becomes of it."""
    found = []
    for mutant in mutants:
        path, started = copy / mutant.file, time.monotonic()
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace(mutant.line, mutant.instead), encoding="utf-8")
        code, said = verdict(copy, mutant.tests)
        path.write_text(whole, encoding="utf-8")
        if code == 0:
            found.append(mutant)
        told = f"SURVIVES {mutant.survives}" if code == 0 else f"noticed ({said})"
        print(
            f"{time.monotonic() - started:5.1f} s  {mutant.file}: {mutant.line!r} -> {mutant.instead!r}: {told}",
            flush=True,
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose file has this in its name")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if only in mutant.file]
    with tempfile.TemporaryDirectory(prefix="winnow-mutants-") as folder:
        copy = copied(Path(folder).resolve() / "winnow")
        # No bytecode: a file that was changed within a second would be taken for the one before.
        os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
        if faults := without_mutants(copy, mutants):
            print(*faults, sep="\n")
            return 1
        found = survivors(copy, mutants)
    print(f"{len(mutants)} mutants, {len(found)} survive; allowed: {MAY_SURVIVE}, each with its why")
    return int(len(found) > MAY_SURVIVE or not all(mutant.survives for mutant in found))


if __name__ == "__main__":
    sys.exit(main())
