"""Sets of words for the people that a text is about; `evaluate.identity_swaps` and `debias.swaps` may name a list.

The words of a set stand in the order of the list's sides: for whom the first is, for whom the second, and so on.
"""

from __future__ import annotations

from typing import NamedTuple

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

NAMES_EN = (
    ("allison", "aisha"), ("brad", "darnell"), ("brendan", "hakim"), ("brett", "jamal"), ("carrie", "keisha"),
    ("emily", "ebony"), ("geoffrey", "jermaine"), ("greg", "kareem"), ("jill", "latonya"), ("kristen", "latoya"),
    ("laurie", "lakisha"), ("matthew", "rasheed"), ("meredith", "tamika"), ("neil", "tremayne"), ("sarah", "tanisha"),
    ("todd", "tyrone"),
)  # fmt: skip
"""First names that readers in the United States took for those of white and of African American people.

Source: the names of Bertrand and Mullainathan 2004, "Are Emily and Greg More Employable than Lakisha and Jamal?",
American Economic Review 94(4), doi:10.1257/0002828042002561. Left out: Kenya, which is a country too, and Jay; and with
them Anne and Leroy. Which name stands beside which, of the same sex, was chosen here.
"""

RELIGION_EN = (("christian", "muslim", "jewish", "buddhist", "catholic", "protestant", "sikh", "taoist"),)
ORIGIN_EN = (
    ("african american", "african", "european", "hispanic", "mexican", "canadian", "american", "asian", "indian",
     "middle eastern", "chinese", "japanese"),
)  # fmt: skip
SEXUALITY_EN = (("heterosexual", "homosexual", "lesbian", "gay", "bisexual"),)
"""The identity terms, in English, of a religion, of where people or their forebears are from, and of whom they love.

Source: the terms of Dixon et al. 2018, "Measuring and Mitigating Unintended Bias", doi:10.1145/3278721.3278729, under
the Apache licence 2.0 (github.com/conversationai/unintended-ml-bias-analysis, bias_madlibs_data/adjectives_people.txt).
Left out are those that mean much else (black, white, straight, old, blind), and those that grammar ties to a gender
(latino, latina) or that stand for several (queer, lgbt).
"""


class IdentityList(NamedTuple):
    """A published list."""

    sets: tuple[tuple[str, ...], ...]
    sides: tuple[str, ...]
    """What the words at each place of a set stand for."""


LISTS = {
    "gender_en": IdentityList(GENDER_EN, ("male", "female")),
    "names_en": IdentityList(NAMES_EN, ("white", "african american")),
    "religion_en": IdentityList(RELIGION_EN, RELIGION_EN[0]),
    "origin_en": IdentityList(ORIGIN_EN, ORIGIN_EN[0]),
    "sexuality_en": IdentityList(SEXUALITY_EN, SEXUALITY_EN[0]),
}
"""The lists by their names in params.yaml: `ListName` of stages/core/params/identity.py."""
