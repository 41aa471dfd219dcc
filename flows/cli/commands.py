"""The `winnow` command. Each command loads what it needs when it is called: `predict` answers at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from flows import __version__

if TYPE_CHECKING:
    from flows.cli.answers import Row
    from flows.releases.releases import Release
    from stages.core.params import IngestParams, Params

DEFAULT_MODEL = "artifacts/models/quantized"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="winnow", message="%(prog)s %(version)s")
def cli() -> None:
    """From raw text to small, fast, trustworthy language models, reproducibly."""


@cli.command()
@click.option("--packages", is_flag=True, help="Also compare the installed packages with hashes.txt.")
def check(packages: bool) -> None:
    """Check params.yaml.

    Silent where it is right; otherwise a line a mistake, and exit code 1. Plug-ins and the path of the data must
    exist.
    """
    root = _checked_root()
    if packages:
        from flows.running.packages import faults

        if found := list(faults(root)):
            raise ValueError("\n".join(found))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="An object: each stage that would run, and its reasons.")
@click.option("--check", is_flag=True, help="Only check that dvc.lock is of this code; exit with 1 where it is not.")
@click.option("--verbose", is_flag=True, help="Every reason, a line each.")
def plan(as_json: bool, check: bool, verbose: bool) -> None:
    """Say what would run, and why: a line a stage.

    A stage that only follows another is skipped in the end where what it reads comes out as it was.
    """
    from flows.dvc import dvc_project

    root = _checked_root()
    if check:
        if stale := dvc_project.stale(root):
            raise click.ClickException(
                f"dvc.lock does not match params.yaml, the code or the data: {', '.join(stale)} would run. "
                "Run `dvc repro`, and commit dvc.lock and metrics/."
            )
        return
    reasons = dvc_project.plan(root).reasons
    if as_json:
        _print_json(reasons)
    else:
        _print_plan(root, reasons, verbose=verbose)


def _print_plan(root: Path, reasons: Mapping[str, Sequence[str]], *, verbose: bool = False) -> None:
    from flows.cli import planned

    click.echo(planned.as_text(reasons, verbose=verbose))
    if took := planned.time_of(root, reasons):
        click.echo(took)


@cli.command()
@click.option("--stage", "stages", metavar="STAGE", multiple=True, help="Only this one and all before it; repeatable.")
@click.option("--force", is_flag=True, help="Run the named stages (none named: all) even where nothing changed.")
@click.option("--dry-run", is_flag=True, help="Only say what would run, and why.")
def reproduce(stages: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Bring every stage up to date.

    Prefect runs the graph of dvc.yaml and shows each stage; the table of models is printed at the end. It uses
    the server that `winnow serve` would, or a temporary one. A second one in the same clone waits for the first.
    """
    root = _checked_root()
    from flows.dvc import dvc_project

    if dry_run:
        plan = dvc_project.plan(root, stages)
        forced = dict.fromkeys(dvc_project.forced(plan.graph, stages), ("by force",)) if force else {}
        reasons = {name: why for name in plan.graph if (why := plan.reasons.get(name) or forced.get(name))}
        _print_plan(root, reasons)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as threads:
        plan_made = threads.submit(dvc_project.plan, root, stages)  # DVC looks while Prefect is loaded
        _use_server()
        from flows.reproduce import run

        if message := run(root, stages, force=force, plan=plan_made):
            raise click.ClickException(message)
    from flows.review import metrics

    click.echo(metrics.as_text(metrics.rows(root), metrics.notes(root)))


_base = click.option("--base", metavar="BRANCH", help="What to propose to; without it, the branch checked out now.")
_approve = click.option(
    "--approve",
    type=click.Choice(["by hand", "when the gate passes"]),
    default="by hand",
    show_default=True,
    help="Whether what the gate passes is released at once.",
)


@cli.command()
@_base
@_approve
@click.option("--accept-drift", is_flag=True, help="Train even where the data is unlike the last release's.")
def retrain(base: str | None, approve: Any, accept_drift: bool) -> None:
    """Retrain on the newest data, and propose the result as a branch.

    Works in a checkout of its own: nobody's is touched. Nothing new, or proposed before: nothing is done. Exits
    with 1 where it fails or the gate stops it.
    """
    root = _checked_root()
    _use_server()
    from flows.retrain import run

    good, told = run(root, base, approve, accept_drift=accept_drift)
    if not good:
        raise click.ClickException(told)
    click.echo(told)


@cli.command()
@click.option("--cron", metavar="CRON", help="When: '0 3 * * *' is every night at three. Without: by hand.")
@click.option("--every", metavar="SECONDS", type=click.IntRange(min=1), help="Instead of --cron.")
@click.option("--timezone", default="UTC", show_default=True, help="Of --cron, such as Europe/Vienna.")
@_base
@_approve
def serve(cron: str | None, every: int | None, timezone: str, base: str | None, approve: str) -> None:
    """Retrain on a schedule, on this machine, until it is ended.

    Needs a Prefect server (`winnow server`). One retraining runs at a time; of missed schedules, only the newest.
    """
    if cron is not None and every is not None:
        raise click.UsageError("Give either --cron or --every.")
    root = _checked_root()
    import hashlib
    from datetime import timedelta

    from flows.retrain import retrain as flow
    from flows.running import git
    from flows.serving import serving

    branch = base or git.branch(root)  # that of now: at three in the morning another one may be checked out
    if branch is None:
        raise click.ClickException("HEAD is detached, so the branch to propose to is not known. Name it: --base main.")
    os.chdir(root)  # where its runs begin: which clone they are of is no parameter, which whoever starts one could set
    parameters = {"base": branch, "approve": approve}
    schedule = serving.schedule_of(cron, timedelta(seconds=every) if every else None, timezone)
    url = serving.connect()
    # Another clone on this server is another deployment.
    name = f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:6]}"
    click.echo(f"Serving retrain/{name}, for the branch {branch}, by the server at {url}. Ctrl-C ends it.", err=True)
    serving.serve(flow, name=name, schedule=schedule, parameters=parameters)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
@click.option("--folder", metavar="DIR", default="~/.winnow", show_default=True, help="Where its database is kept.")
def server(port: int, folder: str) -> None:
    """Start a Prefect server, for this machine alone, until it is ended.

    It asks for a password, which is made at random and kept in ~/.winnow; commands of the same user read it there.
    PREFECT_SERVER_API_AUTH_STRING=user:password sets another one; commands then need it as PREFECT_API_AUTH_STRING.
    """
    from flows.serving.serving import start_server

    start_server(Path(folder), port)


@cli.command()
@click.option("--alert-url", envvar="WINNOW_ALERT_WEBHOOK", metavar="URL", help="Or WINNOW_ALERT_WEBHOOK.")
def automations(alert_url: str | None) -> None:
    """Have the server mark crashed runs, and tell a webhook of failed and blocked ones.

    A crashed run frees its slot. Without a URL no alerts are sent. Run it again to change either.
    """
    from flows.serving import serving

    serving.connect()
    installed = serving.install_automations(stale_after=serving.STALE_AFTER)
    if alert_url:
        installed += serving.install_alerts(alert_url)
    for name in installed:
        click.echo(name)


@cli.command()
@click.argument("revision", default="HEAD")
@click.option("--push/--no-push", default=True, help="Send the release to origin, where there is one.")
def promote(revision: str, push: bool) -> None:
    """Release the model of REVISION (without it, HEAD).

    Every file of it is rehashed first. The release is a git tag; promoting what is released already changes nothing.
    New data is compared with that of the release from then on: metrics/released_data.json, to be committed.
    """
    from flows.releases import releases

    root = _root()
    release = releases.promote(root, revision, push=push)
    click.echo(_release(release))
    _remember_data(root, release.revision)


@cli.command()
@click.option("--push/--no-push", default=True, help="Send it to origin, where there is one.")
def rollback(push: bool) -> None:
    """Return to the release before."""
    from flows.releases import releases

    root = _root()
    release = releases.rollback(root, push=push)
    click.echo(_release(release))
    _remember_data(root, release.revision)


def _remember_data(root: Path, revision: str) -> None:
    """Compare new data with that of the release from now on."""
    from flows.releases import released_data
    from stages.core.paths import Paths

    path = Paths(root).released_data.relative_to(root)
    if (profile := released_data.profile_of(root, revision)) is None:
        click.echo(f"{path} stays as it is: this release has no profile of its data.", err=True)
    elif released_data.remember(root, profile):
        click.echo(f"{path}: new data is compared with that of this release. Run `dvc repro`, commit.", err=True)


@cli.command(name="releases")
def list_releases() -> None:
    """Print the releases, newest first; the first is what is released."""
    from flows.releases import releases

    found = releases.history(_root())
    if not found:
        click.echo("Nothing is released yet. `winnow promote` releases what HEAD has.")
    for release in found:
        click.echo(_release(release))


def _release(release: Release) -> str:
    return f"{release.version}  {release.revision[:12]}"


def _use_server() -> None:
    """A server that answers is used, so that its page shows the run; else Prefect starts one for this run.

    Raises ConnectionError where one was named and does not answer, PermissionError where one was named, or a password
    given, and it wants another. One that nobody named and that wants another is somebody else's, on the same machine.
    """
    from flows.serving import serving

    try:
        serving.connect()
    except (ConnectionError, serving.OtherPasswordError) as error:
        if os.environ.get("PREFECT_API_URL"):
            raise
        if isinstance(error, serving.OtherPasswordError):
            if os.environ.get("PREFECT_API_AUTH_STRING"):
                raise
            click.echo(f"winnow: {error} Until then a temporary server is used.", err=True)
        serving.guard_temporary_server()


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="A list of objects; fractions and numbers as measured.")
@click.option("--markdown", is_flag=True, help="As the README has it.")
def metrics(as_json: bool, markdown: bool) -> None:
    """Print the table of models.

    Where it was measured with other parameters or other code than those here, or its speeds on another machine, a
    line on stderr says so.
    """
    from flows.dvc import freshness
    from flows.review import metrics as table
    from stages.core.machine import processor

    root = _root()
    rows = table.rows(root)
    if not any(row.measured for row in rows):
        raise click.ClickException("no metrics yet. Run `winnow reproduce` or `dvc repro` first.")
    if as_json:
        _print_json(table.as_records(rows))
    else:
        written = table.as_markdown if markdown else table.as_text
        click.echo(written(rows, table.notes(root)))
    for told in (freshness.notice(root), table.elsewhere(rows, processor())):
        if told:
            click.echo(f"winnow: {told}", err=True)


_markdown = click.option("--markdown", is_flag=True, help="Markdown, on a terminal too.")


@cli.command()
@click.option("--base", metavar="REV", help="Show what each number was in this revision.")
@_markdown
def data(base: str | None, markdown: bool) -> None:
    """Print what became of the rows, from source to split: tables on a terminal, Markdown in a pipe."""
    root = _root()
    from flows.cli import terminal
    from flows.review.data_report import as_markdown
    from flows.review.side import Side
    from flows.running.git import commit_of
    from flows.running.masking import masked
    from stages.core.paths import Paths

    path = Paths(root).data_report
    if not path.is_file():
        raise click.ClickException("no data report yet. Run `winnow reproduce --stage report` or `dvc repro report`.")
    before = Side(root, commit_of(root, base) if base else None)
    earlier = before.json(path) if base else {}
    for note in before.notes:
        click.echo(masked(note), err=True)
    terminal.show(masked(as_markdown(Side(root, None).json(path), earlier)), as_it_is=markdown)


@cli.command()
@click.option("--base", metavar="REV", help="Without it: where this branch left main; on main, the commit before.")
@click.option("--output", metavar="DIR", help="Without it: the project's artifacts/review.")
@click.option(
    "--check", is_flag=True, help="Exit with 1 where the gate says fail, a stage would run, or none can tell."
)
@click.option("--texts/--no-texts", default=True, help="Whether both files show the texts of rows, or their ids.")
@_markdown
def review(base: str | None, output: str | None, check: bool, texts: bool, markdown: bool) -> None:
    """Show what the working tree changes against a base.

    Writes review.md, for a pull request, and review.html, a page that opens without a network; prints the first: as
    tables on a terminal, as Markdown in a pipe.
    """
    root = _checked_root()
    from flows.cli import terminal
    from flows.review.comparison import gather
    from flows.review.evidence import without_texts
    from flows.review.page.page import render
    from flows.review.pull_request import as_markdown, stopped
    from flows.running.masking import masked

    found = gather(root, base) if texts else without_texts(gather(root, base))
    folder = Path(output) if output is not None else root / "artifacts/review"
    folder.mkdir(parents=True, exist_ok=True)
    comment = masked(as_markdown(found))
    (folder / "review.md").write_text(comment, encoding="utf-8")
    (folder / "review.html").write_text(masked(render(found)), encoding="utf-8")
    terminal.show(comment, as_it_is=markdown)
    click.echo(f"Written: {folder / 'review.md'}, {folder / 'review.html'}", err=True)
    if check and (why := stopped(found)):
        raise click.ClickException(why)


@cli.command()
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="That of params.yaml, and the next."
)
@click.option("--output", metavar="FILE", help="Without it: the project's docs/ablation.md; the figures go beside it.")
def ablation(seeds: int, output: str | None) -> None:
    """Measure what each part of the recipe is worth.

    Trains the students of every loss, and what is made of them, once a seed: an hour or so on two cores. It is of
    the last commit, in a checkout of its own. What has run before is not run again.
    """
    root = _checked_root()
    from flows.experiments import ablation as table

    found = table.ablate(root, seeds, lambda line: click.echo(line, err=True))
    page = Path(output) if output is not None else root / "docs/ablation.md"
    record = table.write(found, page)
    click.echo(f"Written: {page}, {record}", err=True)


@cli.command()
@click.option(
    "--seeds",
    "count",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="That of params.yaml, and the next.",
)
def seeds(count: int) -> None:
    """Measure how much of each model's figures is the luck of a seed.

    Trains and compresses once a seed, on the same rows, and measures on the test rows and on those set aside. It is of
    the last commit, in a checkout of its own. What has run before is not run again. Writes metrics/seeds.json.
    """
    root = _checked_root()
    from flows.experiments import seeds as several
    from flows.review import metrics as table
    from stages.core.paths import Paths

    found = several.measure(root, count, lambda line: click.echo(line, err=True))
    several.write(found, Paths(root).seeds)
    click.echo(table.as_text(table.rows(root), table.notes(root)))
    click.echo(f"Written: {Paths(root).seeds}. `make readme` shows it.", err=True)


@cli.command()
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option(
    "--pair", "pairs", metavar="TEXT", multiple=True, help="The second text, for a model of pairs; one a TEXT."
)
@click.option(
    "--file", "file", metavar="FILE",
    help="Rows of csv, tsv, jsonl or parquet (also with .gz), or else lines of text; - is the standard input.",
)  # fmt: skip
@click.option("--text-column", metavar="NAME", help="Of such a table; without it, ingest.text_column of params.yaml.")
@click.option("--text-pair-column", metavar="NAME", help="The second text's; without it, ingest.text_pair_column.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a text, with the probability of every label.")
@click.option("--model", metavar="DIR", help=f"A model's folder; without it the project's {DEFAULT_MODEL}.")
@click.option("--threads", type=click.IntRange(min=1), help="Without it: as many as there are cores.")
def predict(
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    file: str | None,
    text_column: str | None,
    text_pair_column: str | None,
    as_json: bool,
    model: str | None,
    threads: int | None,
) -> None:
    """Label each TEXT, or each row of a file.

    Prints a line a text, in their order: label, probability and text (of a pair, both), with tabs between. Each
    run of white space inside a text is printed as one space. A line of text holds a text, or of a pair both with a
    tab between.

    A row of a file that is empty or cannot be read is answered with null, so that answers and rows never shift; how
    many there are is told on stderr. An empty line between the rows of a csv or jsonl is no row, and has no answer.
    Exits with 1 where no row has an answer.
    """
    if bool(texts) == (file is not None):
        raise click.UsageError("Give either TEXT or --file." if texts else "Nothing to label: give TEXT or --file.")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(f"{len(pairs)} --pair for {len(texts)} TEXT. Give each TEXT one --pair, in their order.")
    folder = Path(model) if model is not None else _root() / DEFAULT_MODEL
    if model is None and not folder.is_dir():
        raise click.ClickException(f"no {DEFAULT_MODEL} yet. Run `winnow reproduce`, or name a folder with --model.")
    from flows.cli import answers
    from flows.running.budget import cores
    from stages.backends.runners import open_runner
    from stages.core.model_folder import describe, wants_pairs

    if file is not None:
        rows = _rows_of(file, text_column, text_pair_column, are_pairs=wants_pairs(describe(folder)))
    elif text_column or text_pair_column:
        raise click.UsageError("--text-column and --text-pair-column are about a --file.")
    else:
        given = _not_empty(texts, "text")
        rows = answers.rows_of_texts(zip(given, _not_empty(pairs, "--pair"), strict=True) if pairs else given)
    unanswered = answers.Unanswered()
    for line in answers.answers(rows, open_runner(folder, threads=threads or cores()), unanswered, as_json=as_json):
        click.echo(line)
    if unanswered.are_all:
        raise click.ClickException(str(unanswered))
    if told := str(unanswered):
        click.echo(f"winnow: {told}", err=True)


def _rows_of(file: str, text: str | None, text_pair: str | None, *, are_pairs: bool) -> Iterator[Row]:
    """The rows of a file, a table or lines. Raises UsageError where the options do not fit it or the model."""
    from flows.cli import asked

    if text_pair and not are_pairs:
        raise click.UsageError("The model is of single texts: leave --text-pair-column out.")
    if asked.is_table(file):
        return asked.rows_of_table(file, asked.columns_of(text, text_pair, are_pairs=are_pairs))
    if text or text_pair:
        endings = ", ".join(asked.ENDINGS)
        raise click.UsageError(f"{file} is read as lines of text, which have no columns. A table ends in {endings}.")
    return asked.rows_of_lines(file, are_pairs=are_pairs)


def _not_empty(texts: Iterable[str], unit: str) -> Iterator[str]:
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise ValueError(f"{unit} {number} is empty. Give every {unit} something to label.")
        yield text


def _root() -> Path:
    from flows.running.root import find_root

    return find_root(Path.cwd())


def _checked_root() -> Path:
    """The project's root, where its params.yaml is right. Raises ValueError with a line a mistake."""
    root = _root()
    from flows.running.git import require_repository
    from stages.core.params import load_params

    if not _without_git(root):
        require_repository(root)
    mistakes = list(_mistakes(root, load_params(root / "params.yaml")))
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return root


def _without_git(root: Path) -> bool:
    """Whether DVC was told to do without git (`dvc init --no-scm`)."""
    from configobj import ConfigObj

    files = (ConfigObj(str(root / ".dvc" / name), interpolation=False) for name in ("config", "config.local"))
    return any(file.get("core", {}).get("no_scm", "").lower() == "true" for file in files)


def _mistakes(root: Path, params: Params) -> Iterator[str]:
    """What a look at params.yaml alone does not show: plug-ins and files that do not exist."""
    from flows.running.masking import keys_with_a_secret
    from stages.backends import NEEDS, QUANTIZERS
    from stages.compression.refusals import faults_of_folder, faults_of_student
    from stages.core import plugins
    from stages.models import FAMILIES
    from stages.models.pretrained import faults_of_model, located_here
    from stages.sources import SOURCES
    from stages.tasks import TASKS

    if secret := list(keys_with_a_secret(params.model_dump())):
        remedy = "Keep it in the environment, or in dvc remote modify --local."
        yield from (f"params.yaml: {key} holds a secret in a URL. {remedy}" for key in secret)
        return  # the other messages show the values
    for table, name, key in (
        (TASKS, params.task, "task"),
        (SOURCES, params.ingest.source, "ingest.source"),
        (FAMILIES, params.model.family, "model.family"),
        (FAMILIES, params.distill.family, "distill.family"),
        (QUANTIZERS, params.quantize.backend, "quantize.backend"),
    ):
        try:
            plugins.check(table, name, key=key)
        except ValueError as error:
            yield str(error)
    backend = params.quantize.backend
    yield from plugins.not_installed(backend, NEEDS.get(backend, ()), key="quantize.backend")
    yield from faults_of_student(params)
    try:  # a model of the Hub may not be here yet; then the stage `tokenize` looks at it
        if folder := located_here(params.model, root):
            yield from list(faults_of_model(folder, params)) or faults_of_folder(folder, params)
    except ValueError as error:
        yield str(error)
    if params.ingest.splits.transfer is not None and params.clean.unlabelled == "drop":
        yield (
            f"params.yaml: ingest.splits.transfer is '{params.ingest.splits.transfer}', and clean.unlabelled 'drop', "
            "so all of its rows would be dropped. Set clean.unlabelled: transfer, or ingest.splits.transfer: null."
        )
    if params.ingest.text_pair_column is not None and params.tokenize.long_texts == "windows":
        yield (
            "params.yaml: tokenize.long_texts is 'windows', and ingest.text_pair_column gives pairs of texts. "
            "Allowed for pairs: truncate, which cuts the longer text first."
        )
    yield from _mistakes_of_path(root, params.ingest)


def _mistakes_of_path(root: Path, ingest: IngestParams) -> Iterator[str]:
    """What of the data is not there, or is not what the parameters say; of S3 nothing is asked."""
    scheme, separator, _ = ingest.path.partition("://")
    if separator and scheme != "s3":
        yield f"params.yaml: ingest.path is a {scheme}:// URL. Allowed: a path, or a URL with s3://."
    elif not separator and not (root / ingest.path).exists():
        yield (
            f"params.yaml: ingest.path is '{ingest.path}'. There is no such file or folder. "
            "Give a path from the project's folder, or an absolute one."
        )
    elif not separator and ingest.source == "files":
        from stages.sources.files import faults

        with contextlib.chdir(root):  # as the stage, which is told the same path
            yield from faults(ingest)


def _print_json(content: Any) -> None:
    import json

    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `winnow`. Errors are lines on stderr and exit code 1; WINNOW_DEBUG=1 shows the traceback."""
    _open_closed_streams()
    try:
        code = cli.main(args=arguments, prog_name="winnow", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # The reader left (`winnow predict ... | head`) before the last flush; Python's own must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1  # as click has it where the reader leaves earlier
    except (click.Abort, KeyboardInterrupt) as error:
        _complain(sys.stderr, str(error.__cause__ or error) or "interrupted")
        code = 130
    except Exception as error:
        if os.environ.get("WINNOW_DEBUG"):
            raise
        _complain(sys.stderr, _message(error))
        code = 1
    sys.exit(code)


def _open_closed_streams() -> None:
    """What comes to a stream that is closed (`winnow plan >&-`) goes nowhere.

    Else the next file that is opened would get the number of the standard output, and what children print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ValueError | OSError | RuntimeError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}. WINNOW_DEBUG=1 shows where."


def _complain(stream: TextIO, message: str) -> None:
    for line in message.splitlines():
        click.echo(f"winnow: {line}", file=stream)
