"""Where rows come from. A source is `read(params, seed)`, which yields RawRows, in a file here."""

SOURCES = {
    "docstrings": "stages.sources.docstrings:read",
    "files": "stages.sources.files:read",
    "hub": "stages.sources.hub:read",
}
