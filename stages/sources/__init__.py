"""Where rows come from. A source is `read(params: IngestParams, seed: int) -> Iterator[RawRow]`, in a file of its own here."""

SOURCES = {
    "docstrings": "stages.sources.docstrings:read",
    "files": "stages.sources.files:read",
    "hub": "stages.sources.hub:read",
}
