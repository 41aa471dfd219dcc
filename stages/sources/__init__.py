"""Sources of rows: each a `read(params, seed)`, in a file here, that gives a RawRow or a RejectedRow for each row."""

SOURCES = {
    "docstring_pairs": "stages.sources.docstring_pairs:read",
    "docstring_questions": "stages.sources.docstring_questions:read",
    "docstring_roles": "stages.sources.docstring_roles:read",
    "docstring_summaries": "stages.sources.docstring_summaries:read",
    "docstring_texts": "stages.sources.docstring_texts:read",
    "docstring_types": "stages.sources.docstring_types:read",
    "docstrings": "stages.sources.docstrings:read",
    "emoji": "stages.sources.emoji:read",
    "files": "stages.sources.files:read",
    "hub": "stages.sources.hub:read",
    "human_ratings": "stages.sources.human_ratings:read",
    "parallel": "stages.sources.parallel:read",
}
