"""The review of a change: its effects, gathered from git and DVC, as Markdown, as a page, in cards and tables."""
