"""Pairs of words for the people that a text is about; `evaluate.identity_swaps` may name a list of them."""

from __future__ import annotations

from collections.abc import Sequence

GENDER_EN = (
    ("boy", "girl"), ("boys", "girls"), ("brother", "sister"), ("brothers", "sisters"),
    ("businessman", "businesswoman"), ("chairman", "chairwoman"), ("congressman", "congresswoman"),
    ("councilman", "councilwoman"), ("dad", "mom"), ("dads", "moms"), ("dudes", "gals"),
    ("ex-boyfriend", "ex-girlfriend"), ("father", "mother"), ("fatherhood", "motherhood"), ("fathers", "mothers"),
    ("fraternity", "sorority"), ("gentleman", "lady"), ("gentlemen", "ladies"), ("grandfather", "grandmother"),
    ("grandpa", "grandma"), ("grandson", "granddaughter"), ("grandsons", "granddaughters"), ("he", "she"),
    ("himself", "herself"), ("his", "her"), ("husbands", "wives"), ("king", "queen"), ("kings", "queens"),
    ("male", "female"), ("males", "females"), ("man", "woman"), ("men", "women"), ("nephew", "niece"),
    ("prince", "princess"), ("schoolboy", "schoolgirl"), ("son", "daughter"), ("sons", "daughters"),
    ("spokesman", "spokeswoman"), ("uncle", "aunt"),
)  # fmt: skip
"""The pairs of words by which English names a gender, without those that differ in more.

Source: the "equalize" pairs of Bolukbasi et al. 2016, "Man is to Computer Programmer as Woman is to Homemaker?",
arXiv:1607.06520, under the MIT licence (github.com/tolga-b/debiaswe, data/equalize_pairs.json). Left out: monastery and
convent, testosterone and estrogen, prostate and ovarian cancer, Catholic priest and nun, fella and granny; animals;
twin brother and twin sister, which others of these hold; the same words with a capital.
"""

LISTS = {"gender_en": GENDER_EN}
"""The lists by their names in params.yaml: `IdentityList` of stages/core/params/evaluate.py."""


def pairs_of(swaps: str | Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """The pairs of a list by its name, or those that are given."""
    return LISTS[swaps] if isinstance(swaps, str) else swaps
