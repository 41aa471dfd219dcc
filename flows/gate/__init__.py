"""May a candidate be released? Its answers beside the released model's on the same rows, and fixed limits."""
