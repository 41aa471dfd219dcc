"""Cleaning of rows: rules for the text, duplicates, splits. Every dropped row has a counted reason."""

RULES = {
    "unicode_nfc": "stages.cleaning.characters:unicode_nfc",
    "unicode_nfkc": "stages.cleaning.characters:unicode_nfkc",
    "invisible_characters": "stages.cleaning.characters:invisible_characters",
    "html_markup": "stages.cleaning.markup:html_markup",
    "markdown_markup": "stages.cleaning.markdown:markdown_markup",
    "white_space": "stages.cleaning.characters:white_space",
    "mask_urls": "stages.cleaning.masks:mask_urls",
    "mask_emails": "stages.cleaning.masks:mask_emails",
    "mask_phone_numbers": "stages.cleaning.masks:mask_phone_numbers",
    "mask_numbers": "stages.cleaning.masks:mask_numbers",
    "lower_case": "stages.cleaning.characters:lower_case",
    "no_digits": "stages.cleaning.characters:no_digits",
    "no_punctuation": "stages.cleaning.characters:no_punctuation",
    "no_stop_words": "stages.cleaning.stop_words:no_stop_words",
}
