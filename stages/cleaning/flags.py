"""Flags for texts that are counted and shown but left unchanged: look-alike letters, markup that was escaped twice."""

from __future__ import annotations

import daft
from daft.functions import regexp

# Cyrillic, Greek, Armenian and Cherokee letters that most fonts draw like Latin ones.
LOOK_ALIKES = (
    "АВЕЅІЈКМНОРСТУХҮЗаеѕіјкорсуухһԁԛԝүгѵ"  # Cyrillic
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορυχ"  # Greek
    "ՍՏԼօսոցհ"  # Armenian
    "ᎪᏴᏟᎠᎬᎢᏦᏞᎷᏢᏒᏚᎳ"  # Cherokee
)
_LATIN = r"\p{Latin}\p{M}*"


def look_alike_letters(text: daft.Expression) -> daft.Expression:
    """Whether a Latin letter stands beside a look-alike of another script, as in `p\u0430ypal`; null without a text.

    Whole words of another script are none: they are of another language, which is what `languages` is for.
    """
    return regexp(text, rf"{_LATIN}[{LOOK_ALIKES}]|[{LOOK_ALIKES}]\p{{M}}*\p{{Latin}}")


def escaped_markup(text: daft.Expression) -> daft.Expression:
    """Whether entities or escaped tags are left, as in `it&#39;s`, `it#39;s` or `&lt;b&gt;`; null without a text."""
    return regexp(text, r"&(?:#\d+|#[xX][0-9a-fA-F]+|lt|gt|quot|apos|nbsp|amp);|#(?:3[49]|8[0-9]{3});")


# Columns of the rows while they are cleaned, and in the report under `flagged`.
FLAGS = {"look_alike_letters": look_alike_letters, "escaped_markup": escaped_markup}
