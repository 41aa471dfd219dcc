"""How rows are cleaned: rules for the text, duplicates, splits. Every dropped row has a counted reason."""
