"""The cleaning rules: what each changes, what it leaves, and that docs/cleaning.md tells of all of them."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import get_args

import daft
import hypothesis
import pytest
import regex
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from stages.cleaning import RULES, batches, languages, markdown, rules
from stages.core import plugins, unseen
from stages.core.params.clean import CleaningRule, CleanParams
from stages.core.params.file import load_params

ZWNJ = "\u200c"
WITH_ZWNJ = f"\u0646\u0627\u0645\u0647{ZWNJ}\u0627\u06cc"  # "a letter" in Persian
WITH_ZWJ = "\u0d28\u0d4d\u200d \u0915\u094d\u200d\u0937"  # Malayalam's n at a word's end, a cluster of Devanagari
EMOJI = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525"  # a family, a heart on fire
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
CODE = "<lambda> a < b > c <type> List<T> <object at 0x7f>"
PAGE = "# Head\n\n*One* **two** `x_y` [link](http://a.b) ![alt text](c.png)\n\n- item\n\n> quote\n\n```py\ncode()\n```"


def settings(**changes: object) -> CleanParams:
    params = load_params(REPOSITORY / "params.yaml").clean
    return CleanParams.model_validate(params.model_dump() | changes)


def cleaning(names: list[str], **changes: object) -> rules.Cleaning:
    params = settings(rules=names, **changes)
    return rules.cleaning_of(params.rules, params.masks, params.stop_word_language, params.max_chars)


def after(name: str, text: str, **changes: object) -> str:
    """What one pass of the rule, or of those of the recipe, makes of the text."""
    of = cleaning([name], **changes)
    for single in of.rules:
        text = rules.rule(single, of)(text)
    return text


def by_daft(texts: list[str | None], of: rules.Cleaning) -> list[str | None]:
    """What the stage makes of the texts."""
    found = daft.from_pydict({"text": texts}).select(batches.cleaned(daft.col("text"), of).alias("cleaned"))
    return [row["text"] for row in found.to_pydict()["cleaned"]]


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("unicode_nfc", "cafe\u0301 ﬁ", "caf\u00e9 ﬁ"),
        ("unicode_nfkc", "Ｗｉｄｅ ﬁ", "Wide fi"),
        ("invisible_characters", "\ufeffwo\u200brd so\u00adft\u202e\x00\x1b tab\tline\n", "word soft tab\tline\n"),
        ("white_space", "  a\u00a0b \n\n\tc\u3000", "a b c"),
        ("lower_case", "ÄPFEL", "äpfel"),
        ("html_markup", "<p class='x'>One <b>bo</b>ld</p><BR/>two &lt;b&gt; &amp;", " One bold  two <b> &"),
        ("html_markup", "usage: cp <source> <output> copies files", "usage: cp <source> <output> copies files"),
        ("html_markup", "a <b and c> d is plain math", "a <b and c> d is plain math"),
        ("html_markup", "call foo(List<a> x, Set<i> y) there", "call foo(List<a> x, Set<i> y) there"),
        ("html_markup", "DROP TABLE <table>; <input> is read", "DROP TABLE <table>; <input> is read"),
        ("html_markup", "<a href=x>link</a> <img src='y' alt=\"\"> end </i>", "link  end "),
        ("html_markup", "<td>one<td>two<li>three <input disabled>", " one two three "),
        ("html_markup", "&region; &copyright; &notit; &eacute;", "&region; &copyright; &notit; é"),
        ("html_markup", "".join(f"&#{ord(character)};" for character in SCOTLAND), SCOTLAND),
        ("html_markup", "it#39;s quot;bigquot; &amp;amp;lt; #333; a&#38;amp;quot;", "it's \"bigquot; < #333; a\""),
        ("html_markup", f"{WITH_ZWNJ.replace(ZWNJ, '&zwnj;')} x&shy;y", f"{WITH_ZWNJ} xy"),
        ("invisible_characters", f"{WITH_ZWNJ.replace(ZWNJ, ZWNJ * 2)} a\u200cb \u200c", f"{WITH_ZWNJ} ab "),
        ("invisible_characters", f"{WITH_ZWJ} \u0e01\u200d", f"{WITH_ZWJ} \u0e01"),
        ("invisible_characters", f"{EMOJI} \U0001f468\u200d x", f"{EMOJI} \U0001f468 x"),
        ("invisible_characters", f"{SCOTLAND} x{SCOTLAND[1:]} \U0001f3f4\U000e0067", f"{SCOTLAND} x \U0001f3f4"),
        ("invisible_characters", "\x93it\x92s\x94 5 \x80 \x85 a\x81b", "\u201cit\u2019s\u201d 5 \u20ac \u2026 ab"),
        ("invisible_characters", "a line\x85another", "a line\x85another"),
        ("invisible_characters", "\ufe0f a\u034fb \u3164c\u115f", " ab c"),
        ("html_markup", "a<!-- b -->c<script>d < e</script>f", "a c f"),
        ("html_markup", CODE, CODE),
        ("html_markup", "x&#8203;y &copy=2 &nosuch; R&D", "xy &copy=2 &nosuch; R&D"),
        ("markdown_markup", PAGE, "Head\nOne two x_y link alt text\nitem\nquote\ncode()"),
        ("markdown_markup", "| a | b |\n|---|---|\n| 1 | ~~2~~ |", "a\nb\n1\n2"),
        ("markdown_markup", "snake_case <type> 2 * 3 #5", "snake_case <type> 2 * 3 #5"),
        ("mask_urls", "see https://a.b/c?d=e#f. Or www.x.org, <http://y.z/>", "see url. Or url, <url>"),
        ("mask_emails", "mail a.b+c@d-e.co.uk. now @user x@y", "mail email. now @user x@y"),
        ("mask_emails", "jürgen@firma.de o'neil@x.org 'a@b.de' 连系我a@x.de吧", "email email 'email' 连系我email吧"),
        ("mask_emails", "иван@почта.рф _jo@x.com", "email email"),
        ("mask_phone_numbers", "+49 30 / 1234567, +33 (0)1 23 45 67 89, (+49) 30 1234567", "phone, phone, phone"),
        ("mask_phone_numbers", "+20% 2019-2021, UTC+02:00, 2024-05-01", "+20% 2019-2021, UTC+02:00, 2024-05-01"),
        ("mask_phone_numbers", "+12, 34.56, 789; +12.5 - 13.75%", "+12, 34.56, 789; +12.5 - 13.75%"),
        ("mask_phone_numbers", "+5 / 10 / 15 / 20 units", "+5 / 10 / 15 / 20 units"),
        ("mask_phone_numbers", "(0221) 99 88 77 but Smith (2019) 12 345-350", "phone but Smith (2019) 12 345-350"),
        ("mask_phone_numbers", "+49 30 1234567, (030) 123-4567, +1 (555) 123-4567", "phone, phone, phone"),
        ("mask_phone_numbers", "call 1-800-555-1234 or 555.123.4567", "call phone or phone"),
        ("mask_phone_numbers", "2026-11-21 192.168.1.1 v1.2.3 1,234,567", "2026-11-21 192.168.1.1 v1.2.3 1,234,567"),
        ("mask_numbers", "3 of 1,234.5 at 10:30, -7 utf8 2e-4", "number of number at number, -number utf8 number"),
        ("no_digits", "utf8 3.5 2nd ٣", "utf . nd "),
        ("no_punctuation", "don't stop (now)! a-b $5", "dont stop  now  a b  5"),
        ("no_stop_words", "The cat is on the mat", " cat    mat"),
        ("classic", "The <b>3</b> Users DON'T like ＡＢ, see it!", "users dont like ab"),
    ],
)  # fmt: skip
def test_rules_change_what_they_are_for_and_nothing_else(rule: str, text: str, expected: str) -> None:
    assert after(rule, text) == expected


def test_a_missing_text_stays_missing() -> None:
    assert by_daft([None, "a  b", None], cleaning(["white_space"])) == [None, "a b", None]


# What has been known to make trouble, and characters of all kinds.
TROUBLE = (
    "&amp; &lt;b&gt; &amp;amp;lt; <b> </b> <p> <!-- --> <script> </script> <source> #39; quot; &zwj; ** __ ` # > -"
    " \n \t http://a.b/c me@x.org +49 30 1234567 3.5 the The DON'T \u200c \u200d \ufe0f \u2764 \U0001f468 \U0001f3f4"
    " \U000e0067 \U000e007f \u0627 \u0915 \u094d \x85 \x93 \x1f \xa0 \u3000 \ud800 e\u0301 \ufb01 \uff37"
)
PIECES = st.one_of(
    st.sampled_from(TROUBLE.split(" ")),
    st.text(max_size=6),
    st.text(alphabet=st.characters(codec=None, categories=["Cf", "Cc", "Mn", "So", "Zs", "Lo", "Nd"]), max_size=4),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=12).map(" ".join)
RULE_LISTS = st.one_of(
    st.sampled_from([[name] for name in RULES]),
    st.sampled_from([["classic"], load_params(REPOSITORY / "params.yaml").clean.rules]),
    st.lists(st.sampled_from(sorted(RULES)), max_size=5, unique=True),
)


@hypothesis.settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(st.lists(TEXTS, min_size=5, max_size=40), RULE_LISTS, st.sampled_from([2000, 20]))
def test_a_model_sees_what_the_stage_wrote_whether_the_text_is_clean_or_not(
    texts: list[str], names: list[str], max_chars: int
) -> None:
    """Every rule, alone and with others, on thousands of texts: to the byte, also where a clean text is given."""
    of = cleaning(names, max_chars=max_chars)
    sealed = json.loads(json.dumps({"cleaning": of._asdict()}))
    described = rules.of_description(sealed)
    assert described is not None
    clean = rules.cleaner(described)
    served = [clean(text) for text in texts]
    assert [clean(text) for text in served] == served
    whole = [at for at, text in enumerate(texts) if "\ud800" not in text]  # Arrow takes no half of a character
    assert by_daft([texts[at] for at in whole], of) == [served[at] for at in whole]


# Each drives some pattern back and forth: in a text of them a square of its length would be hours.
ODD = [
    "<!--", "<script>", "<a x='", "&amp;", "&#38;", "a.", "1.", "(030) 1234 11", "+1 1", "http://", "a_*", "\u200d",
    " \t", "a@a.", "'", "\n", "\u2764\ufe0f", "\u0645\u200c", "&lt;", "<b>",
]  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", sorted(RULES))
def test_long_texts_of_odd_pieces_are_cleaned(name: str) -> None:
    of = cleaning([name])
    length = markdown.LONGEST if name == "markdown_markup" else 500_000
    for piece in ODD:
        text = "x" * (length // 2) + piece * (length // 2 // len(piece))
        assert isinstance(rules.rule(name, of)(text), str)


def test_default_ignorable_characters_are_those_of_unicode() -> None:
    ours = re.compile(f"[{unseen.IGNORABLE}]")
    theirs = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    assert [code for code in range(0x110000) if bool(ours.match(chr(code))) != bool(theirs.match(chr(code)))] == []


@pytest.mark.parametrize(("name", "mask"), [("mask_numbers", "1 2"), ("mask_urls", "x www.a.b")])
def test_a_mask_that_its_own_rule_would_change_is_refused(name: str, mask: str) -> None:
    masks = {"url": "url", "email": "email", "phone_number": "phone", "number": "number"}
    masks["number" if name == "mask_numbers" else "url"] = mask
    with pytest.raises(ValueError, match=rf"clean\.masks.*'{re.escape(mask)}'.*{name}"):
        cleaning([name], masks=masks)


def test_a_mask_is_what_the_parameter_says_to_the_letter() -> None:
    masks = {"url": "$0 [URL]", "email": "", "phone_number": "p", "number": "n"}
    assert after("mask_urls", "a http://b.c d", masks=masks) == "a $0 [URL] d"
    assert after("mask_emails", "to a@b.cd now", masks=masks) == "to  now"


def test_a_recipe_is_its_rules_in_their_order() -> None:
    names = list(rules.expanded(["mask_urls", "classic"]))
    assert names[0] == "mask_urls"
    assert names[1:] == list(rules.RECIPES["classic"])


def test_every_rule_is_a_parameter_is_told_of_and_is_found() -> None:
    names = set(RULES)
    assert set(get_args(CleaningRule)) == names | set(rules.RECIPES)
    page = (REPOSITORY / "docs/cleaning.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, flags=re.MULTILINE))
    said = {name: plugins.load(RULES, name, key="clean.rules").__doc__.strip() for name in names}
    assert {name: told.get(name) for name in names} == said


@pytest.mark.skipif(importlib.util.find_spec("stopwordsiso") is None, reason="stopwordsiso is not installed")
def test_stop_words_are_those_of_the_language() -> None:
    assert after("no_stop_words", "der Hund und the dog", stop_word_language="de") == " Hund  the dog"
    with pytest.raises(ValueError, match=r"stop_word_language is 'xx'\. Allowed: .*\bfr\b"):
        after("no_stop_words", "a", stop_word_language="xx")


@pytest.mark.skipif(importlib.util.find_spec("stopwordsiso") is not None, reason="stopwordsiso is installed")
def test_stop_words_of_a_language_that_is_not_installed_say_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"stop_word_language is 'de'.*--editable '\.\[languages\]'"):
        after("no_stop_words", "a", stop_word_language="de")


@pytest.mark.skipif(importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed")
def test_the_language_of_a_text_is_told() -> None:
    texts = [
        "This is a sentence in plain English about ships.",
        "Dies ist ein deutscher Satz über große Schiffe.",
        None,
    ]
    found = daft.from_pydict({"text": texts}).select(languages.language(daft.col("text")).alias("is"))
    assert found.to_pydict()["is"] == ["en", "de", None]


@pytest.mark.skipif(importlib.util.find_spec("py3langid") is not None, reason="py3langid is installed")
def test_languages_without_their_package_say_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"clean\.languages needs py3langid.*--editable '\.\[languages\]'"):
        languages.identifier()
