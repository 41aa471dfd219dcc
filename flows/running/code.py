"""How a project that lies outside of Winnow's own folder reaches the code of its stages: by a link, `.winnow/code`.

    ~/reviews/dvc.yaml           deps: .winnow/code/stages/finetune.py
    ~/reviews/.winnow/code    -> ~/winnow

So dvc.lock holds no path of this machine, and a change of the code is seen. git does not keep the link: each command
makes it where it is missing.
"""

from __future__ import annotations

import os
from pathlib import Path

LINK = Path(".winnow/code")
OURS = Path(__file__).resolve().parents[2]  # the folder of this Winnow


def holds_code(folder: Path) -> bool:
    """Whether the folder has the code of the stages itself, as Winnow's own has."""
    return (folder / "stages/core/entry.py").is_file()


def code_of(root: Path) -> Path:
    """The folder whose code the stages of the project at `root` are.

    It is the project itself; for one beneath Winnow's folder, as in a worktree of its repository, the nearest above
    that has the code; for any other this Winnow's. Code that merely lies above a project is not trusted.
    """
    if holds_code(root):
        return root
    above = (folder for folder in root.resolve().parents if folder.is_relative_to(OURS) and holds_code(folder))
    return next(above, OURS)


def link_code(root: Path) -> None:
    """Make the link to the code of the project at `root`, where it needs one that is not there or leads elsewhere."""
    code, link = code_of(root), root / LINK
    if code == root or (link.is_symlink() and link.resolve() == code.resolve()):
        return
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is in the way: it is to be a link to {code}. Move it elsewhere.")
    link.parent.mkdir(exist_ok=True)
    resolved = root.resolve()
    within = resolved.is_relative_to(code.resolve())  # then both move together, into a clone or a worktree
    target = os.path.relpath(code.resolve(), resolved / LINK.parent) if within else str(code)
    draft = link.with_name(f".code-{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)


def environment_of(root: Path) -> dict[str, str]:
    """What the processes of the project's stages need to import just that code, where they do not lie beside it."""
    code = code_of(root)
    if code == root:
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))}
