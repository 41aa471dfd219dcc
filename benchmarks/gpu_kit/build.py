"""Writes the kit: `make gpu-kit`, after `make repro`. A folder that a machine with a GPU needs no index for.

    .gpu-kit/run.sh           what is called there
    .gpu-kit/project/         a checkout in small: the code, params.yaml, tokens, tokenizer, clean rows of artifacts/
        pretrained/           the teacher's pretrained weights, rounded to float16 and packed; params.yaml has the
                              sha256 of the unpacked file
    .gpu-kit/wheels/          of the packages in packages.txt, for one Python on Linux
    .gpu-kit/torchao/         of one that only the backend torchao_int8 is to see
    .gpu-kit/manifest.json    sha256 of each file, the commit, and the CPU's results: scores, losses of the first steps

It is refused where it would be larger than MOST_MIB.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import record
import torch
from safetensors.torch import load_file, save_file

from flows.dvc.edits import set_values
from gpu_kit.part import MANIFEST, PACKED, SAID, WEIGHTS, sha256
from stages.core.files import publish, read_json, write_json
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.models.pretrained import WANTED, locate

log = logging.getLogger("gpu-kit")

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MOST_MIB = 55
TRAINED = ("teacher", "student", "pruned")
CODE = {"stages": "*.py", "benchmarks": "*.py"}  # patterns within each folder
# What pip takes: any glibc from 2017's on. It matches each name exactly, older ones too.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
BUILT = ("deepspeed",)  # the index may have no wheel of it
WITHOUT_OPS = {"DS_BUILD_OPS": "0", "DS_ACCELERATOR": "cpu"}  # pure Python: no stage uses DeepSpeed's own kernels


def main() -> None:
    arguments = parse()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        build(arguments.project.resolve(), arguments.out.resolve(), python=arguments.python, wheels=arguments.wheels)
    except ValueError as error:
        sys.exit(str(error))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=ROOT, help="the project whose data and results are taken along")
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu-kit")
    parser.add_argument("--python", default="3.12", help="the version of the machine's Python")
    parser.add_argument("--wheels", type=Path, help="a folder with the wheels, instead of downloading them")
    return parser.parse_args()


def build(project: Path, out: Path, *, python: str, wheels: Path | None) -> None:
    """Write the kit to `out`. `wheels`: a folder that has them; None: pip downloads them.

    Raises ValueError where results of the project are missing, where wheels cannot be had, and for a kit too large.
    """
    paths = Paths(project)
    refuse_absent(paths)
    with publish(out) as kit:
        copied = kit / "project"
        copy_code(copied)
        copy_data(paths, copied)
        round_weights(paths, copied)
        if wheels:
            shutil.copytree(wheels, kit / "wheels")
        else:
            download(kit, python)
        shutil.copy(HERE / "run.sh", kit / "run.sh")
        cpu = {
            "training": {model: read_json(paths.training(model)) for model in TRAINED},
            "train_rows": read_json(paths.training("teacher"))["train_rows"],
            "losses": cpu_losses(copied),
        }
        pack_weights(copied / "pretrained")
        files = sorted(path for path in kit.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        digests = {path.relative_to(kit).as_posix(): sha256(path) for path in files}
        write_json(kit / MANIFEST, {"made": record.made(), "python": python, "cpu": cpu, "sha256": digests})
        refuse_large(kit)
    log.info("%s", told(out))


def refuse_absent(paths: Paths) -> None:
    """Raise ValueError where something that the kit takes along is missing, with how to make it."""
    wanted = [paths.tokens / "space.json", paths.tokenizer / "tokenizer.json", paths.clean]
    wanted += [paths.training(model) for model in TRAINED]
    if missing := [str(path.relative_to(paths.root)) for path in wanted if not path.is_file()]:
        raise ValueError(
            f"{paths.root}: there is no {', no '.join(missing)}. The kit takes along what `make repro` has made: call"
            " that first (or `dvc pull`)."
        )


def copy_code(copied: Path) -> None:
    """Copy the code that a GPU's machine runs."""
    for folder, pattern in CODE.items():
        for file in sorted((ROOT / folder).rglob(pattern)):
            target = copied / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def copy_data(paths: Paths, copied: Path) -> None:
    """Copy tokens, without the test rows', tokenizer, clean rows and params.yaml."""
    for folder in (paths.tokens, paths.tokenizer):
        shutil.copytree(folder, copied / folder.relative_to(paths.root), ignore=shutil.ignore_patterns("test"))
    for file in (paths.clean, paths.params):
        shutil.copyfile(file, copied / file.relative_to(paths.root))


def round_weights(paths: Paths, copied: Path) -> None:
    """Write the pretrained model with weights of float16, half as large, and name that in the kit's params.yaml.

    The stages widen it to float32. So a teacher starts from other weights than here, by a rounding in the fourth digit.
    """
    model = load_params(paths.params).model
    if not Path(model.name).is_absolute() and (paths.root / model.name).is_dir():
        model = model.model_copy(update={"name": str(paths.root / model.name)})
    source, target = locate(model), copied / "pretrained"
    target.mkdir()
    for name in WANTED:
        if name != WEIGHTS and (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    tensors = load_file(source / WEIGHTS)
    save_file({name: one.half() if one.is_floating_point() else one for name, one in tensors.items()}, target / WEIGHTS)
    if lost := [name for name, tensor in load_file(target / WEIGHTS).items() if not torch.isfinite(tensor).all()]:
        raise ValueError(
            f"{source / WEIGHTS}: {lost[0]} and {len(lost) - 1} others have weights beyond float16's range."
        )
    named = {"model.name": "./pretrained", "model.revision": None, "model.sha256": sha256(target / WEIGHTS)}
    set_values(copied / "params.yaml", named)


def pack_weights(folder: Path) -> None:
    """Replace the weights by two halves of their bytes, compressed: signs and exponents, and what is as good as noise.

    Seven tenths of the former are left, all of the latter. `Kit.unpack` puts them together again, to the same bytes.
    """
    low, high = np.frombuffer((folder / WEIGHTS).read_bytes(), dtype=np.uint8).reshape(-1, 2).T
    np.savez_compressed(folder / PACKED, low=low, high=high)
    (folder / WEIGHTS).unlink()


def download(kit: Path, python: str) -> None:
    """Have pip fetch the wheels of packages.txt, and torchao's, as constraints.txt pins them."""
    names = packages()
    pins = pinned((*names, "torchao"))
    target = ["--python-version", python, "--implementation", "cp"]
    target += [part for platform in PLATFORMS for part in ("--platform", platform)]
    fetch = ["download", "--no-deps", "--only-binary=:all:", *target, "--dest"]
    log.info("gpu-kit: %d wheels for Python %s", len(names) + 1, python)
    pip(*fetch, str(kit / "wheels"), *(pins[name] for name in names if name not in BUILT))
    pip(*fetch, str(kit / "torchao"), pins["torchao"])
    for name in BUILT:
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(kit / "wheels"), pins[name], **WITHOUT_OPS)
    if bound := [path.name for path in (kit / "wheels").glob("deepspeed-*") if not path.name.endswith("none-any.whl")]:
        raise ValueError(
            f"{bound[0]}: DeepSpeed's wheel is one for this machine alone. Unset DS_BUILD_* and try again."
        )


def packages() -> list[str]:
    """The names in packages.txt."""
    lines = (HERE / "packages.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pinned(names: Iterable[str]) -> dict[str, str]:
    """NAME==VERSION of each name, from constraints.txt. Raises ValueError for one that it does not have."""
    names = tuple(names)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = {canonical(line.partition("==")[0]): line.strip() for line in lines if "==" in line}
    if missing := [name for name in names if canonical(name) not in versions]:
        raise ValueError(f"constraints.txt does not pin {', '.join(missing)}. Correct packages.txt.")
    return {name: versions[canonical(name)] for name in names}


def canonical(name: str) -> str:
    """A package's name as the index compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def pip(*arguments: str, **environment: str) -> None:
    """Call pip. Raises ValueError with what it said last, where it fails."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise ValueError(f"pip {arguments[0]}: {done.stderr[-SAID:].strip()}\nIs the index within reach?")


def cpu_losses(copied: Path) -> list[float]:
    """The losses of the first steps in float32, on this machine's CPU, of the kit's own weights."""
    here = {
        "PYTHONPATH": f"{copied}{os.pathsep}{copied / 'benchmarks'}",
        "CUDA_VISIBLE_DEVICES": "",
        "DS_ACCELERATOR": "cpu",
    }
    command = [sys.executable, "-B", "-m", "gpu_kit.exactness", str(copied)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **here})
    if done.returncode:
        raise ValueError(f"gpu-kit: the first steps on this CPU failed: {done.stderr[-SAID:].strip()}")
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


def refuse_large(kit: Path) -> None:
    """Raise ValueError where the kit is larger than MOST_MIB, with its largest files."""
    sizes = {path: path.stat().st_size for path in kit.rglob("*") if path.is_file()}
    if sum(sizes.values()) > MOST_MIB * 2**20:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:5]
        named = ", ".join(f"{path.relative_to(kit)} {mib(sizes[path])}" for path in largest)
        raise ValueError(
            f"gpu-kit: it would have {mib(sum(sizes.values()))}. Allowed: {MOST_MIB} MiB. Largest: {named}."
        )


def told(kit: Path) -> str:
    """What the kit holds, and what to do with it."""
    sizes = {
        part: sum(f.stat().st_size for f in part.rglob("*") if f.is_file()) for part in kit.iterdir() if part.is_dir()
    }
    parts = ", ".join(f"{part.name} {mib(size)}" for part, size in sorted(sizes.items()))
    total = mib(sum(sizes.values()))
    return f"{kit}: {total} ({parts}). Copy it to a machine with a GPU, and there: {kit.name}/run.sh OUT"


def mib(size: int) -> str:
    """A size in bytes as text."""
    return f"{size / 2**20:.1f} MiB"


if __name__ == "__main__":
    main()
