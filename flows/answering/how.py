"""The model that a project's commands ask, and how it is asked; light, as every command loads it."""

from __future__ import annotations

import contextlib
from pathlib import Path

MODEL = "quantized"  # what `winnow predict` and `winnow app` open unless they are told otherwise


def asked(root: Path) -> str | None:
    """The command, such as "winnow predict TEXT"; None where the project has no such model, or its task cannot."""
    from stages.core.model_folder import describe, left_out, reads_apart, reads_images, wants_pairs
    from stages.core.paths import Paths

    folder = Paths(root).model(MODEL)
    with contextlib.suppress(OSError, ValueError):
        if left_out(folder) is not None:
            return None
        about = describe(folder)
        if reads_images(about):
            return 'winnow predict IMAGE --labels "a cat" "a dog"'
        return "winnow predict TEXT" + (" --pair TEXT" if wants_pairs(about) or reads_apart(about) else "")
    return None
