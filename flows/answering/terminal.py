"""Texts of others on a terminal."""

CONTROLS = dict.fromkeys([*range(32), *range(0x7F, 0xA0)], " ")


def cleaned(text: str) -> str:
    """The text without control characters, which could move the cursor; each is one blank."""
    return text.translate(CONTROLS)


def in_lines(text: str) -> str:
    """The same, but line feeds and tabs stay."""
    return text.translate({code: blank for code, blank in CONTROLS.items() if chr(code) not in "\n\t"})


def shortened(text: str, most: int) -> str:
    """The text in one line, of `most` characters at most: cut between words, where one ends there, with an ellipsis."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head, blank, _ = line[:most].rpartition(" ")
    return f"{head if blank and len(head) > most // 2 else line[: most - 1]}…"
