"""Made-up tickets to try Winnow on: `python docs/tickets.py tickets.csv` writes 900 of four queues, always the same.

`--append` adds the next 100 to a file that is there. One in twenty lies in a wrong queue, as in life. The texts are
put together from parts, so that they are easy.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

GREETINGS = [
    "Hello,",
    "Hi there,",
    "Good morning,",
    "Dear team,",
    "Hello support,",
    "Please help,",
    "Question:",
    "Again:",
]
PROBLEMS = {
    "billing": [
        "I was charged twice for my subscription", "the invoice shows an amount that I never agreed to",
        "my card was debited although I cancelled last month", "the discount code did not lower the price",
        "I need the bill with our company's tax number", "the refund has not reached my bank account",
    ],
    "delivery": [
        "my parcel has not arrived", "the courier left the box with a neighbour I do not know",
        "the tracking page has said the same for a week", "half of the order is missing from the package",
        "the address on the label is wrong", "the driver came while nobody was at home",
    ],
    "login": [
        "I cannot sign in any more", "the password reset mail never comes", "my account is locked after three attempts",
        "the code from the authenticator app is refused", "the page says that my user name does not exist",
        "I am thrown out of the session every minute",
    ],
    "returns": [
        "the shoes are too small and I want to send them back", "the lamp came broken and I want another one",
        "I would like to exchange the jacket for a larger size", "how do I print the label to give the coat back",
        "the kettle stopped working and I ask for a replacement", "the colour differs from the picture so it goes back",
    ],
}  # fmt: skip
DETAILS = [
    "This started on Monday.", "It is the third time this year.", "My customer number is below.",
    "I have waited for days.", "My colleague has the same trouble.", "The phone line was busy.",
    "I tried it on two computers.", "It is urgent for us.", "Nobody has answered my last mail.",
    "I am travelling and need it soon.", "It worked well in spring.", "I can send photos.",
]  # fmt: skip
ENDS = ["Thank you.", "Please answer today.", "Best wishes, Kim.", "What can I do?", "I hope you can help.", "Regards."]
FIRST, NEXT, MISPLACED = 900, 100, 0.05


def tickets() -> list[tuple[str, str]]:
    """Rows of text and queue, the first ones and the next; no two with the same text."""
    draw = random.Random(7)  # noqa: S311 (these are no secrets)
    found: dict[str, str] = {}
    while len(found) < FIRST + NEXT:
        queue = draw.choice(sorted(PROBLEMS))
        details = " ".join(draw.sample(DETAILS, 2))
        body = f"{draw.choice(GREETINGS)} {draw.choice(PROBLEMS[queue])}. {details} {draw.choice(ENDS)}"
        others = [other for other in sorted(PROBLEMS) if other != queue]
        found[body] = draw.choice(others) if draw.random() < MISPLACED else queue
    return list(found.items())


def main() -> None:
    """Write the first tickets to the file that is named, or add the next ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--append", action="store_true")
    asked = parser.parse_args()
    rows = tickets()[FIRST:] if asked.append else [("body", "queue"), *tickets()[:FIRST]]
    with asked.file.open("a" if asked.append else "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
