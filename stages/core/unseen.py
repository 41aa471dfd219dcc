"""Invisible characters, and those among them that stay because of their visible effect on their neighbours."""

from __future__ import annotations

import functools
import re

import regex

# Unicode's Default_Ignorable_Code_Point: what is not drawn, though some of it changes how its neighbours are.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Those, controls that are no white space, and annotation marks.
HIDDEN = rf"{IGNORABLE}\ufff9-\ufffb\0-\b\x0e-\x1f\x7f-\x84\x86-\x9f"
HIDDEN_CHARACTER = re.compile(f"[{HIDDEN}]")
ASCII_CONTROL = re.compile("[\0-\b\x0e-\x1f\x7f]")

# A black flag and the tags that say whose it is: three such flags are of countries, England's for one.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f"
_FLAG_OR_HIDDEN = re.compile(f"{_FLAG}|[{HIDDEN}]+")
JOINERS = "\u200c\u200d\u180e"  # and Mongolian's vowel separator
_SELECTORS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_FILLERS = "\u115f\u1160"
_OLD_HANGUL = re.compile("[\u1100-\u115e\u1161-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]")
PICTURE = regex.compile(r"[\p{Extended_Pictographic}\p{Emoji_Modifier}]")
# Letters and marks of the scripts in which joiners change how letters are drawn.
JOINING = regex.compile(
    r"""(?V1)[[\p{Arab}\p{Syrc}\p{Mong}\p{Nkoo}\p{Mand}\p{Phag}\p{Adlm}\p{Rohg}\p{Deva}\p{Beng}\p{Guru}\p{Gujr}\p{Orya}
    \p{Taml}\p{Telu}\p{Knda}\p{Mlym}\p{Sinh}\p{Khmr}\p{Mymr}\p{Tibt}]&&[\p{L}\p{M}]]|[\u064b-\u0655\u0670]""",
    regex.VERBOSE,
)
# Without one of these, all that is hidden goes.
MAY_STAY = re.compile("[\u200c\u200d\u180b-\u180f\ufe00-\ufe0f\u115f\u1160\U000e0020-\U000e007f\U000e0100-\U000e01ef]")
_MIXED_UP = re.compile("[\x80-\x84\x86-\x9f]")
# The characters that Windows' code page 1252 has where Unicode has controls; five places are empty there too.
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


def without_hidden(text: str) -> str:
    """The text without hidden characters, except those with a visible effect: in joined letters, emoji, flags.

    Controls that are Windows' quotes, dashes and the like under a wrong name are replaced by those.
    """
    if text.isascii():
        return ASCII_CONTROL.sub("", text)
    if _MIXED_UP.search(text):
        text = text.translate(_WINDOWS)
    return _FLAG_OR_HIDDEN.sub(_seen, text) if MAY_STAY.search(text) else HIDDEN_CHARACTER.sub("", text)


def without_selectors(text: str) -> str:
    """The text without variation selectors, which choose how the character before is drawn (emoji in colour or not)."""
    return text if text.isascii() else _SELECTORS.sub("", text)


def _seen(found: re.Match[str]) -> str:
    """The remainder of a run of hidden characters, or of a flag with its tags."""
    run, text = found[0], found.string
    if run[0] == "\U0001f3f4":
        return run
    return _stays(run, text[max(found.start() - 1, 0) : found.start()], text[found.end() : found.end() + 1])


@functools.lru_cache(maxsize=1 << 12)
def _stays(run: str, before: str, after: str) -> str:
    """The remainder of a run of hidden characters between two others; empty ones: the text's start or end."""
    joiner = next((character for character in run if character in JOINERS), "")
    if not _joins(joiner, before, after):
        joiner = ""
    marks = "".join(character for character in run if _marks(character, before, after))
    return marks + joiner  # a selector stands before the joiner of its emoji


def _joins(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner has a visible effect between these two characters."""
    of_letters = [bool(JOINING.match(character)) for character in (before, after)]
    if joiner == "\u200d":
        return any(of_letters) or bool(PICTURE.match(before) and PICTURE.match(after))
    return all(of_letters)


def _marks(character: str, before: str, after: str) -> bool:
    """Whether it is a variation selector for the character before it, or a filler of an old Hangul syllable."""
    if character in _FILLERS:
        return bool(_OLD_HANGUL.match(before) or _OLD_HANGUL.match(after))
    return bool(_SELECTORS.match(character)) and bool(before) and not before.isspace()
