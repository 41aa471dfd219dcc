"""Stage `validate`: expectations on the rows that came in and on those that go on (Great Expectations).

What fails stops the pipeline and is named: the expectation, the column, what was found and is allowed, rows.
Great Expectations' own results hold times and paths, so DVC gets a summary without them.
"""

from __future__ import annotations

import pyarrow.parquet as pq

from stages.entry import run_stage
from stages.files import write_json
from stages.params import Params
from stages.paths import Paths
from stages.validation.results import complaint, run_suites
from stages.validation.suites import suites


def validate(params: Params, paths: Paths) -> None:
    """Write `paths.validation_report`, and Data Docs.

    Raises ValueError with a line for each failed expectation; the report is then written beside the usual
    place, as validation-failed.json.
    """
    raw, clean = (pq.read_table(path).to_pandas() for path in (paths.raw, paths.clean))
    summary = run_suites(suites(raw, clean, params.validate_), paths.data_docs)
    refused = paths.validation_report.with_name("validation-failed.json")
    failures = [complaint(name, result) for name in summary for result in summary[name] if not result["success"]]
    if failures:
        write_json(refused, summary)
        where = f"Tables and counts: {paths.data_docs / 'index.html'} and {refused}."
        raise ValueError("\n".join([*failures, where]))
    refused.unlink(missing_ok=True)
    write_json(paths.validation_report, summary)


if __name__ == "__main__":
    run_stage(validate)
