"""A task of the tests: spans of characters, as one text; the target of a row hangs on its text."""
