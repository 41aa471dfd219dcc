"""What a GPU makes of Winnow: the parts of the kit that `make gpu-kit` writes, each with a time limit of its own.

`run.sh` of the kit calls it: `check` before anything is installed, then `run`, which starts a process a part:

    exactness ┐
    stages    ├─ at once, as nothing of them is timed;   speed ─ torchao_int8 ─ out_of_memory, each alone
    resume    ┘

A part writes OUT/NAME.json with each thing that it finds. Where it fails, or takes too long, that file says why, and
the others go on. OUT/gpu.json has all of it, with the hardware's name and the versions: whoever has run the kit commits
that as benchmarks/gpu.json. Docs: docs/gpu.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_kit.part import SAID, Findings, Kit, SkippedError

PACKAGES = ("torch", "deepspeed", "transformers", "tokenizers", "numpy", "triton", "torchao")
POLL_SECONDS = 0.1
REHEARSED = 3  # times a limit, on a CPU


@dataclass(frozen=True)
class Part:
    """A part of the kit: the function MODULE.NAME(kit, findings), in a process of its own."""

    module: str
    name: str
    seconds: int
    """It is ended after so many."""


# Parts of one line are run at once. All limits together stay under eight minutes with what comes before and after.
WAVES = (
    (
        Part("gpu_kit.exactness", "exactness", 150),
        Part("gpu_kit.pipeline", "stages", 190),
        Part("gpu_kit.pipeline", "resume", 150),
    ),
    (Part("gpu_kit.speed", "speed", 190),),
    (Part("gpu_kit.pipeline", "torchao_int8", 40),),
    (Part("gpu_kit.pipeline", "out_of_memory", 35),),
)


def main() -> None:
    arguments = parse()
    kit = Kit(arguments.kit.resolve(), (arguments.scratch or arguments.kit).resolve(), gpu=not arguments.rehearse)
    if arguments.do == "check":
        if faults := kit.faults():
            sys.exit("\n".join(faults))
    elif arguments.do == "part":
        module, name = arguments.function.split(":")
        one_part(kit, module, name, arguments.out)
    else:
        run(kit, arguments.out.resolve(), arguments.only or [part.name for wave in WAVES for part in wave])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("check", "run", "part"))
    parser.add_argument("--kit", type=Path, required=True, help="the folder that make gpu-kit wrote")
    parser.add_argument("--out", type=Path, help="the folder that the figures go to")
    parser.add_argument("--scratch", type=Path, help="a folder that is deleted afterwards")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, all tiny")
    names = [part.name for wave in WAVES for part in wave]
    parser.add_argument("--only", nargs="+", choices=names, help="these parts alone")
    parser.add_argument("--function", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(kit: Kit, out: Path, names: Sequence[str]) -> None:
    """Run the parts of these names, and write gpu.json anew after each wave.

    Ends the process with 1 where something did not hold.
    """
    import record
    import torch

    if kit.gpu and not torch.cuda.is_available():
        sys.exit(
            f"torch {torch.__version__} sees no GPU here (torch.cuda.is_available() is false). On a machine with one,"
            " see what nvidia-smi says, and whether this torch is one for CUDA. To rehearse on a CPU: run.sh OUT"
            " --rehearse"
        )
    out.mkdir(parents=True, exist_ok=True)
    ended_by_signals()
    own = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0], "WINNOW_PROCESSES": "1"}
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(kit.scratch / "inductor"), "TRITON_CACHE_DIR": str(kit.scratch / "triton")}
    os.environ.update({**own, **caches, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    begun = time.perf_counter()
    kit.unpack()
    report: dict[str, Any] = {
        "rehearsed": not kit.gpu, "machine": machine(), "seconds": 0.0, "parts": {},
    }  # fmt: skip
    chosen = (tuple(part for part in wave if part.name in names) for wave in WAVES)
    for wave in filter(None, chosen):
        report["parts"].update(together(kit, wave, out))
        report["seconds"] = round(time.perf_counter() - begun, 1)
        record.write(out / "gpu.json", report, commit=kit.about["made"]["commit"])
    missed = [name for name, part in report["parts"].items() if part["status"] not in ("held", "skipped")]
    sys.exit(f"not all held: {', '.join(missed)}. {out / 'gpu.json'} says what." if missed else 0)


def ended_by_signals() -> None:
    """Have SIGTERM end this process as Ctrl-C does: by an exception, so that the parts are ended, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process has it ignored


def together(kit: Kit, wave: tuple[Part, ...], out: Path) -> dict[str, Any]:
    """Run the parts of a wave at once. Returns what each has found, with `status`, `seconds` and what failed.

    Where it is interrupted, no part goes on.
    """
    running: dict[Part, subprocess.Popen[bytes]] = {}
    try:
        for part in wave:
            running[part] = started(kit, part, out)
        return until_ended(kit, running, out)
    finally:
        for process in running.values():
            end(process)


def until_ended(kit: Kit, running: dict[Part, subprocess.Popen[bytes]], out: Path) -> dict[str, Any]:
    """Wait for the parts, and take each that has ended, or is too late, out of `running`."""
    begun, found = time.perf_counter(), dict[str, Any]()
    while running:
        time.sleep(POLL_SECONDS)
        passed = time.perf_counter() - begun
        for part, process in list(running.items()):
            limit, late = part.seconds * (1 if kit.gpu else REHEARSED), process.poll() is None
            if late and passed <= limit:
                continue
            end(process)
            del running[part]
            why = f"it took longer than its {limit} s, and was ended" if late else failure(kit, part, process)
            found[part.name] = ended(out / f"{part.name}.json", why, passed)
            print(f"{part.name}: {found[part.name]['status']} after {passed:.0f} s", flush=True)
    return found


def started(kit: Kit, part: Part, out: Path) -> subprocess.Popen[bytes]:
    """Start a part in a process group of its own, so that all that it starts can be ended with it."""
    path = out / f"{part.name}.json"
    Findings(path, {"status": "running"}).write()
    command = [sys.executable, __file__, "part", "--function", f"{part.module}:{part.name}", "--out", str(path)]
    with (kit.scratch / f"{part.name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--kit", kit.folder, "--scratch", kit.scratch, *([] if kit.gpu else ["--rehearse"])],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """End a part, and whatever it has left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failure(kit: Kit, part: Part, process: subprocess.Popen[bytes]) -> str | None:
    """What the process of a part said last, where it failed."""
    said = (kit.scratch / f"{part.name}.log").read_text(encoding="utf-8", errors="replace")
    return f"its process ended with {process.returncode}: {said[-SAID:].strip()}" if process.returncode else None


def ended(path: Path, why: str | None, seconds: float) -> dict[str, Any]:
    """Write into a part's file how it ended, and return it. `why`: of one that failed, unless it has said so itself."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if why:
        content = {**content, "status": "failed", "why": content.get("why", why)}
    elif content["status"] == "running":
        held = all(check["held"] for check in content.get("checks", []))
        content["status"] = "held" if held else "not held"
    content["seconds"] = round(seconds, 1)
    Findings(path, content).write()
    return content


def one_part(kit: Kit, module: str, name: str, path: Path) -> None:
    """Be the process of a part, the function NAME of that module. What it raises goes into its file."""
    logging.basicConfig(level=logging.WARNING)
    found = Findings(path, {"status": "running"})
    function = getattr(importlib.import_module(module), name)
    try:
        function(kit, found)
    except SkippedError as reason:
        found.content |= {"status": "skipped", "why": str(reason)}
        found.write()
    except Exception as error:
        found.content |= {"status": "failed", "why": f"{type(error).__name__}: {error}"[-SAID:]}
        found.write()
        raise


def machine() -> dict[str, Any]:
    """The GPU, its driver, and the versions of what computes."""
    import torch

    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    found: dict[str, Any] = {
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "gpus": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "cuda": torch.version.cuda, "driver": driver(), "python": platform.python_version(), "versions": versions,
    }  # fmt: skip
    if torch.cuda.is_available():
        found["memory_mb"] = round(torch.cuda.get_device_properties(0).total_memory / 1e6)
    return found


def driver() -> str | None:
    """The version of NVIDIA's driver; None without one."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.splitlines()[0].strip() if said.strip() else None


if __name__ == "__main__":
    main()
