"""The gate for releases: a candidate against the released model on the same rows, and against fixed limits."""
