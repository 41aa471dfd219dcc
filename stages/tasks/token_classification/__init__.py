"""Token classification: labelled spans of a text, such as named entities."""
