"""What a change did, gathered from git and DVC, and shown: in Markdown, as a page, in cards and tables."""
