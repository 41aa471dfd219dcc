"""Data Docs in a real browser, opened as files, with no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import page_fixtures
import pytest
from test_validate import good_rows, params, write

from stages.validate import validate

browser = page_fixtures.browser


@pytest.fixture(scope="module")
def front_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a validation that failed for one text that is empty and one that attacks the page."""
    rows = good_rows()
    attack = "</td><script>document.title = 'pwned'</script><img src=x onerror=\"document.title='pwned'\">"
    rows["text"] = rows["text"].mask(rows["row_id"] == "row-3", "").mask(rows["row_id"] == "row-5", attack)
    rows["label"] = rows["label"].mask(rows["row_id"] == "row-5", attack)
    paths = write(tmp_path_factory.mktemp("docs"), rows, rows)
    with pytest.raises(ValueError, match="found"):
        validate(params(labels=["a", "b"]), paths)
    return paths.data_docs / "index.html"


def test_the_front_page_leads_to_each_suite_and_the_failing_expectation_with_its_row(
    browser: Any, front_page: Path
) -> None:
    context = browser.new_context()
    page, requests = context.new_page(), []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(front_page.as_uri())
    suites = page.locator("table a").all_inner_texts()
    assert suites == ["raw", "clean", "raw_columns", "clean_columns", "totals", "splits", "labels"]
    failures = page.locator("li").all_inner_texts()
    assert any("lengths_to_be_between on text" in line and line.endswith("Rows: row-3.") for line in failures)
    page.get_by_role("link", name="clean", exact=True).click()
    failed = page.locator("tr", has_text="must always be greater than or equal to 1 characters long").last
    assert "1 unexpected values found" in failed.inner_text()
    assert failed.locator(".fa-times").count() == 1
    assert "pwned" not in page.title()
    assert [url for url in requests if not url.startswith("file:")] == []
    context.close()
