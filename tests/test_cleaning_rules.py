"""The cleaning rules: what each changes, what it leaves, and that docs/cleaning.md tells of all of them."""

from __future__ import annotations

import importlib.util
import re
from typing import get_args

import daft
import pytest
from conftest import REPOSITORY

from stages.cleaning import languages, rules
from stages.params import CleaningRule, CleanParams, load_params

CODE = "<lambda> a < b > c <type> List<T> <object at 0x7f>"
PAGE = "# Head\n\n*One* **two** `x_y` [link](http://a.b) ![alt text](c.png)\n\n- item\n\n> quote\n\n```py\ncode()\n```"


def settings(**changes: object) -> CleanParams:
    params = load_params(REPOSITORY / "params.yaml").clean
    return CleanParams.model_validate(params.model_dump() | changes)


def after(rule: str, text: str | None, **changes: object) -> str:
    frame = daft.from_pydict({"text": [text, "plain"]})
    found = frame.select(rules.apply(settings(rules=[rule], **changes), daft.col("text")).alias("text"))
    return found.to_pydict()["text"][0]


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("unicode_nfc", "cafe\u0301 ﬁ", "caf\u00e9 ﬁ"),
        ("unicode_nfkc", "Ｗｉｄｅ ﬁ", "Wide fi"),
        ("invisible_characters", "\ufeffwo\u200brd so\u00adft\u202e\x00\x1b tab\tline\n", "word soft tab\tline\n"),
        ("white_space", "  a\u00a0b \n\n\tc\u3000", "a b c"),
        ("lower_case", "ÄPFEL", "äpfel"),
        ("html_markup", "<p class='x'>One <b>bo</b>ld</p><BR/>two &lt;b&gt; &amp;", " One bold  two <b> &"),
        ("html_markup", "a<!-- b -->c<script>d < e</script>f", "a c f"),
        ("html_markup", CODE, CODE),
        ("html_markup", "x&#8203;y &copy=2 &nosuch; R&D", "xy &copy=2 &nosuch; R&D"),
        ("markdown_markup", PAGE, "Head\nOne two x_y link alt text\nitem\nquote\ncode()"),
        ("markdown_markup", "| a | b |\n|---|---|\n| 1 | ~~2~~ |", "a\nb\n1\n2"),
        ("markdown_markup", "snake_case <type> 2 * 3 #5", "snake_case <type> 2 * 3 #5"),
        ("mask_urls", "see https://a.b/c?d=e#f. Or www.x.org, <http://y.z/>", "see url. Or url, <url>"),
        ("mask_emails", "mail a.b+c@d-e.co.uk. now @user x@y", "mail email. now @user x@y"),
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


@pytest.mark.parametrize("rule", get_args(CleaningRule))
def test_a_missing_text_stays_missing(rule: str) -> None:
    assert after(rule, None) is None


def test_a_mask_is_what_the_parameter_says_to_the_letter() -> None:
    masks = {"url": "$0 [URL]", "email": "", "phone_number": "p", "number": "n"}
    assert after("mask_urls", "a http://b.c d", masks=masks) == "a $0 [URL] d"
    assert after("mask_emails", "to a@b.cd now", masks=masks) == "to  now"


def test_a_recipe_is_its_rules_in_their_order() -> None:
    names = list(rules.expanded(["mask_urls", "classic"]))
    assert names[0] == "mask_urls"
    assert names[1:] == list(rules.RECIPES["classic"])


def test_every_rule_is_a_parameter_is_told_of_and_is_found() -> None:
    names = {*rules.RULES, *rules.TUNED}
    assert set(get_args(CleaningRule)) == names | set(rules.RECIPES)
    page = (REPOSITORY / "docs/cleaning.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, flags=re.MULTILINE))
    said = {name: (rule.__doc__ or "").strip() for name, rule in {**rules.RULES, **rules.TUNED}.items()}
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
