"""What others wrote and a demo page runs: pinned here, fetched from npm by `winnow fetch --demo`, and kept.

onnxruntime-web is ONNX Runtime as WebAssembly, by the makers of the one that runs models here; @huggingface/tokenizers
reads the same tokenizer.json in JavaScript. Only the files that are named are taken, and only browsers run them.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

from stages.reading.corpora import NPM, Pin, members, place_of, read_pinned, store

FETCH = "winnow fetch --demo"
_LICENSE = "package/LICENSE"


class Part(NamedTuple):
    """A package of npm, and the files of it that a page needs."""

    pin: Pin
    files: dict[str, str]
    """Names in the archive -> in the page's folder."""


ONNX_RUNTIME = Part(
    Pin("onnxruntime-web", "1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71", NPM),
    {
        "package/dist/ort.wasm.bundle.min.mjs": "vendor/onnxruntime-web.js",
        "package/dist/ort-wasm-simd-threaded.wasm": "vendor/onnxruntime-web.wasm",
    },
)
TOKENIZERS = Part(
    Pin("@huggingface/tokenizers", "0.2.0", "2800014c83b8186b2e4210c20672f1fb65a12cef85d7e95e0f2003e022611b4a", NPM),
    {"package/dist/tokenizers.min.mjs": "vendor/tokenizers.js", _LICENSE: "vendor/tokenizers.LICENSE.txt"},
)
PARTS = (ONNX_RUNTIME, TOKENIZERS)


def files() -> dict[str, bytes]:
    """The content of each file of the parts, by its name in the page's folder.

    Raises FileNotFoundError where an archive was not fetched, ValueError where it is not the one that is pinned.
    """
    found = dict(_licences())
    for part in PARTS:
        content = members(_archive(part.pin), list(part.files), shown=str(part.pin))
        found |= {part.files[name]: one for name, one in content.items()}
    return found


def _archive(pin: Pin) -> bytes:
    path = place_of(pin, store())
    if not path.is_file():
        raise FileNotFoundError(f"The page runs {pin}, of npm, which is not here. Fetch it: {FETCH}")
    return read_pinned(pin, path)


def _licences() -> dict[str, bytes]:
    """Those of ONNX Runtime: its package of npm has none, and that of Python, of the same source, has them."""
    installed = distribution("onnxruntime")
    names = {"LICENSE": "LICENSE.txt", "ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}
    return {
        f"vendor/onnxruntime-web.{ours}": Path(str(installed.locate_file(f"onnxruntime/{theirs}"))).read_bytes()
        for theirs, ours in names.items()
    }
