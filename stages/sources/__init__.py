"""Where rows come from. A source is `read(params, seed)`, in a file here: a RawRow, or a RejectedRow, a row."""

SOURCES = {
    "docstrings": "stages.sources.docstrings:read",
    "files": "stages.sources.files:read",
    "hub": "stages.sources.hub:read",
}
