"""The README and the pages of docs/: links lead somewhere, and the figures in front are those that were measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from flows.cli.commands import cli

PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("projects/*/README.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without what is shown as code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda found: found[0].replace("[", "").replace("(", ""), text)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    named = set(re.findall(r'<a id="([\w-]+)"></a>', text))
    return named | {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> Iterator[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    for groups in LINK.findall(prose(page)):
        link = groups[0] or groups[1]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        there = page.parent / name if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_link_to_a_page_or_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One thing\n[x](#one-thing) [y](#another) [z](b.md) `[k](l)` ![p](p.png)\n```\n[m](n)\n```\n")
    assert list(broken(page)) == ["#another", "b.md", "p.png"]


def test_the_readme_leads_to_every_page() -> None:
    linked = {groups[0].partition("#")[0] for groups in LINK.findall(prose(REPOSITORY / "README.md"))}
    assert {f"docs/{page.name}" for page in REPOSITORY.glob("docs/*.md")} - linked == set()


def test_the_page_of_commands_has_each_of_them() -> None:
    page = (REPOSITORY / "docs/commands.md").read_text(encoding="utf-8")
    table = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    named = {name.removeprefix("winnow ") for name in re.findall(r"`([\w ]+)`", table)}
    assert set(cli.commands) - named == set()


def benchmark(name: str) -> Any:
    return json.loads((REPOSITORY / f"benchmarks/{name}.json").read_text(encoding="utf-8"))


def written(name: str) -> dict[str, Any]:
    """The figures of a benchmark of models that write, greedily."""
    models = benchmark(name)["seeds"]["20"]["models"]
    return {model: {**models[model], **models[model]["beams_1"]} for model in ("teacher", "quantized")}


@pytest.mark.parametrize(
    ("title", "figures", "measure", "shown"),
    [
        ("Banking77", benchmark("banking77")["seeds"]["20"], "accuracy", "{:.2%}"),
        ("STS benchmark", benchmark("published")["stsb"]["seeds"]["20"], "spearman", "{:.3f}"),
        ("GoEmotions", benchmark("published")["goemotions"]["seeds"]["20"], "macro_f1", "{:.1%}"),
        ("Multi30k", written("multi30k"), "bleu", "{:.1f}"),
    ],
)
def test_the_figures_in_front_are_those_of_the_benchmarks(title: str, figures: Any, measure: str, shown: str) -> None:
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    [row] = [line for line in lines if line.startswith(f"| {title}")]
    int8, teacher = figures["quantized"], figures["teacher"]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == [shown.format(int8[measure]), shown.format(teacher[measure])]
    assert cells[5:7] == [f"{int8['size_mb']:.1f}", f"{teacher['size_mb'] / int8['size_mb']:.1f}x"]
    times = teacher["latency_p50_ms"] / int8["latency_p50_ms"]
    assert cells[7:9] == [f"{int8['latency_p50_ms']:.2f}", f"{times:.0f}x"]


@pytest.mark.parametrize(
    ("name", "figure", "shown"),
    [
        ("training", "tokens_per_second/finetune_all", "{:,}"),
        ("training", "tokens_per_second/trainer_tuned", "{:,}"),
        ("training", "tokens_per_second/trainer", "{}"),
        ("runners", "runners/Winnow/p50_ms", "{:.2f}"),
        ("runners", "runners/ONNX Runtime, dynamic int8, optimizer/p50_ms", "{:.2f}"),
        ("runners", "runners/OpenVINO, NNCF int8/p50_ms", "{:.2f}"),
        ("runners", "runners/torch, compiled/p50_ms", "{:.2f}"),
        ("compression", "models/Winnow/p50_ms", "{:.2f}"),
        ("compression", "models/teacher, dynamic int8/p50_ms", "{:.2f}"),
        ("banking77", "seeds/20/baseline/accuracy", "{:.2%}"),
        ("banking77", "seeds/20/baseline/latency_p50_ms", "{:.2f}"),
        ("banking77", "seeds/20/quantized/accuracy", "{:.2%}"),
        ("banking77", "seeds/20/quantized/latency_p50_ms", "{:.2f}"),
        ("entities", "docstring_roles/seeds/20/baseline/entity_f1", "{:.1%}"),
        ("entities", "docstring_roles/seeds/20/quantized/entity_f1", "{:.1%}"),
        ("predict_file", "1000000 rows/command_rows_per_s", "{:,}"),
    ],
)
def test_what_is_compared_was_measured_on_the_day_that_is_named(name: str, figure: str, shown: str) -> None:
    page = " ".join((REPOSITORY / "docs/compared.md").read_text(encoding="utf-8").split())
    value = benchmark(name)
    made = value["made"]
    for key in figure.split("/"):
        value = value[key]
        made = value if isinstance(value, dict) and "date" in value else made  # figures of one corpus of several
    assert f"{name}.py, {made['date']}" in page
    assert re.search(rf"(?<![\d.,]){re.escape(shown.format(value))}(?![\d.])", page)


def test_what_the_readme_says_of_a_teacher_that_is_only_quantized_was_measured() -> None:
    peer = benchmark("compression")["models"]["teacher, dynamic int8"]
    slower, larger = (round(peer[times]["median"], 1) for times in ("times_slower", "times_larger"))
    text = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    assert f"is {slower} times as slow as the model that Winnow makes of it, and {larger} times as large" in text
