"""A stepper of the ONNX graphs: one batch of sequences, whose cache grows in memory that is never copied whole.

The cache's arrays are the graph's inputs and outputs at once, with room for more tokens than there are. Where they are
full they are made twice as long. Sequences of different lengths begin at their left, each with its own length, so that
nothing stands between their tokens.
R sequences, T tokens, S tokens of a source, V tokens of the vocabulary, K heads, C room for tokens, D size of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

MODEL, ENCODER, DATA = "model.onnx", "encoder.onnx", "model.onnx.data"
ROOM = 64  # tokens for which there is room at first, besides those of the prompts


class Sessions(NamedTuple):
    """The opened graphs of a model; many steppers may share them."""

    decoder: onnxruntime.InferenceSession
    encoder: onnxruntime.InferenceSession | None
    """None where there is no source apart."""
    cache: tuple[tuple[int, int], ...]
    """(K, D) of each layer."""
    positions: bool
    """Whether the graph is told the place of each token."""
    vocabulary: int


def open_sessions(folder: Path, threads: int) -> Sessions:
    """Open the graphs in `folder` on the CPU, with `threads` threads."""
    decoder = _open(folder / MODEL, threads)
    encoder = _open(folder / ENCODER, threads) if (folder / ENCODER).exists() else None
    inputs = {one.name: one.shape for one in decoder.get_inputs()}
    layers = sum(name.startswith("past.") and name.endswith(".key") for name in inputs)
    cache = tuple((inputs[f"past.{i}.key"][1], inputs[f"past.{i}.key"][3]) for i in range(layers))
    return Sessions(decoder, encoder, cache, "positions" in inputs, decoder.get_outputs()[0].shape[1])


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    constants = path.with_name(DATA)
    if path.is_symlink() or constants.is_symlink():
        # ONNX Runtime reads constants from the graph's own folder alone, and DVC's links lead into its cache.
        held = np.memmap(constants, dtype=np.uint8, mode="r")
        options.add_external_initializers_from_files_in_memory([DATA], [held], [held.size])
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Source(NamedTuple):
    """The sources of R sequences, as the decoder reads them."""

    values: dict[str, np.ndarray]
    """By the names of the decoder's inputs: `source_mask` (R, S), keys and values (R, K, S, D)."""
    of_R: np.ndarray
    """The number of each sequence's source."""


class GraphStepper:
    """One batch of sequences with its cache: a `Stepper` of stages/decoding/stepper.py.

    The logits that it returns are overwritten by its next call.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lengths_R = np.zeros(0, dtype=np.int32)  # tokens in the cache, of each sequence
        self._cache: list[np.ndarray] = []  # keys and values of each layer in turn, (R, K, C, D)
        self._shared_RR = np.zeros((0, 0), dtype=np.int32)  # of two sequences, how many tokens they begin alike
        self._source: Source | None = None
        self._bound: _Bound | None = None

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """Read the sequences and their sources -> logits (R, V) of what follows each; float32."""
        lengths = np.array([len(row) for row in ids], dtype=np.int32)
        self._read(ids, sources, lengths)
        last_N = np.arange(len(ids)) * lengths.max() + lengths - 1
        self._bound = None
        return self._prompted(ids, lengths, last_N)

    def score(self, ids_RT: np.ndarray, sources_RS: np.ndarray | None) -> np.ndarray:
        """Read R sequences of T tokens, and their sources -> logits (R, T, V) of what follows each token; float32."""
        rows, tokens = ids_RT.shape
        lengths = np.full(rows, tokens, dtype=np.int32)
        self._read(ids_RT.tolist(), None if sources_RS is None else sources_RS.tolist(), lengths)
        self._bound = None
        return self._prompted(ids_RT.tolist(), lengths, np.arange(rows * tokens)).reshape(rows, tokens, -1)

    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Sequence r becomes the one that was `order_R[r]`, and goes on with its token -> logits (R, V); float32."""
        if order_R is not None:
            self._reorder(np.asarray(order_R))
        if int(self._lengths_R.max()) == self._cache[0].shape[2]:
            self._cache = [_longer(array, 2 * array.shape[2]) for array in self._cache]
            self._bound = None
        if self._bound is None:
            self._bound = _Bound(self._sessions, self._cache, self._source, self._lengths_R)
        logits_RV = self._bound.run(tokens_R, self._lengths_R)
        self._lengths_R += 1
        np.fill_diagonal(self._shared_RR, self._lengths_R)
        return logits_RV

    def _read(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None, lengths: np.ndarray) -> None:
        """Make an empty cache, and read the sources."""
        rows, room = len(ids), int(lengths.max()) + ROOM
        self._cache = [
            np.zeros((rows, heads, room, size), dtype=np.float32)
            for heads, size in self._sessions.cache
            for _ in ("key", "value")
        ]
        self._lengths_R = lengths.copy()
        self._shared_RR = np.diag(lengths)
        self._source = None
        if sources is not None:
            self._source = _read_sources(self._sessions, sources)

    def _prompted(self, ids: Sequence[Sequence[int]], lengths: np.ndarray, places_N: np.ndarray) -> np.ndarray:
        longest = int(lengths.max())
        input_ids = np.zeros((len(ids), longest), dtype=np.int64)
        for row, own in enumerate(ids):
            input_ids[row, : len(own)] = own
        inputs = {
            "input_ids": input_ids, "positions": np.arange(longest, dtype=np.int64)[None], "lengths": lengths - 1,
            "total": np.array(longest, dtype=np.int32), "places": places_N.astype(np.int64),
        }  # fmt: skip
        logits_NV = np.empty((len(places_N), self._sessions.vocabulary), dtype=np.float32)
        _binding(self._sessions, self._cache, self._source, inputs, logits_NV).run()
        return logits_NV

    def _reorder(self, order_R: np.ndarray) -> None:
        """Put the sequences in another order. What two of them have alike, from their begin on, is not copied."""
        if len(order_R) > len(self._lengths_R):
            used = int(self._lengths_R.max())
            self._cache = [_taken(array, order_R, used) for array in self._cache]
            self._bound = None
        else:
            self._move(order_R)
            if len(order_R) < len(self._lengths_R):
                self._cache = [array[: len(order_R)] for array in self._cache]
                self._bound = None
        self._lengths_R = self._lengths_R[order_R]
        self._shared_RR = self._shared_RR[np.ix_(order_R, order_R)]
        if self._source is not None and not np.array_equal(self._source.of_R[order_R], self._source.of_R):
            self._source = Source(
                {name: np.ascontiguousarray(array[order_R]) for name, array in self._source.values.items()},
                self._source.of_R[order_R],
            )
            self._bound = None
        elif self._source is not None:
            self._source = self._source._replace(of_R=self._source.of_R[order_R])

    def _move(self, order_R: np.ndarray) -> None:
        moved = np.flatnonzero(order_R != np.arange(len(order_R)))
        if not len(moved):
            return
        origin = order_R[moved]
        first = int(self._shared_RR[moved, origin].min())
        end = int(self._lengths_R[origin].max())
        for array in self._cache:
            array[moved, :, first:end] = array[origin, :, first:end]


class _Bound:
    """A step of R sequences, bound to its memory once; a run changes what lies there."""

    def __init__(
        self, sessions: Sessions, cache: list[np.ndarray], source: Source | None, lengths_R: np.ndarray
    ) -> None:
        rows = len(lengths_R)
        # Where all are of one length, one place is told for all of them.
        alike = bool((lengths_R == lengths_R[0]).all())
        self._inputs: dict[str, np.ndarray] = {
            "input_ids": np.zeros((rows, 1), dtype=np.int64),
            "positions": np.zeros((1 if alike else rows, 1), dtype=np.int64),
            "lengths": np.zeros(rows, dtype=np.int32),
            "total": np.zeros((), dtype=np.int32),
            "places": np.arange(rows, dtype=np.int64),
        }
        self._logits_RV = np.empty((rows, sessions.vocabulary), dtype=np.float32)
        self._run = _binding(sessions, cache, source, self._inputs, self._logits_RV).run

    def run(self, tokens_R: np.ndarray, lengths_R: np.ndarray) -> np.ndarray:
        """Append a token to each sequence, which has so many -> logits (R, V), in memory that the next run uses."""
        inputs = self._inputs
        inputs["input_ids"][:, 0] = tokens_R
        inputs["positions"][:, 0] = lengths_R[: len(inputs["positions"])]
        inputs["lengths"][:] = lengths_R
        inputs["total"][...] = lengths_R.max() + 1
        self._run()
        return self._logits_RV


class _Binding(NamedTuple):
    """A graph whose inputs and outputs have their memory."""

    run: Callable[[], None]


def _binding(
    sessions: Sessions,
    cache: list[np.ndarray],
    source: Source | None,
    inputs: Mapping[str, np.ndarray],
    logits_NV: np.ndarray,
) -> _Binding:
    """The decoder with these inputs and outputs; the cache's arrays are both."""
    session = sessions.decoder
    bound = session.io_binding()
    given = {name: array for name, array in inputs.items() if sessions.positions or name != "positions"}
    for name, array in {**given, **(source.values if source else {})}.items():
        _bind(bound.bind_input, name, array)
    for number, array in enumerate(cache):
        place = f"{number // 2}.{('key', 'value')[number % 2]}"
        _bind(bound.bind_input, f"past.{place}", array)
        _bind(bound.bind_output, f"present.{place}", array)
    _bind(bound.bind_output, "logits", logits_NV)
    held = (bound, dict(given), source, list(cache), logits_NV)  # the binding does not keep its arrays alive

    def run() -> None:
        session.run_with_iobinding(held[0])

    return _Binding(run)


def _bind(bind: Callable[..., None], name: str, array: np.ndarray) -> None:
    assert array.flags.c_contiguous
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _read_sources(sessions: Sessions, sources: Sequence[Sequence[int]]) -> Source:
    """Read the sources: their keys and values, for each of the decoder's layers."""
    assert sessions.encoder is not None
    lengths = [len(row) for row in sources]
    input_ids = np.zeros((len(sources), max(lengths)), dtype=np.int64)
    mask = np.zeros((len(sources), max(lengths)), dtype=np.int32)
    for row, own in enumerate(sources):
        input_ids[row, : len(own)], mask[row, : len(own)] = own, 1
    names = [one.name for one in sessions.encoder.get_outputs()]
    found = sessions.encoder.run(names, {"input_ids": input_ids, "source_mask": mask})
    return Source({"source_mask": mask, **dict(zip(names, found, strict=True))}, np.arange(len(sources)))


def _longer(array: np.ndarray, room: int) -> np.ndarray:
    """The array of the cache with room for so many tokens."""
    rows, heads, used, size = array.shape
    found = np.zeros((rows, heads, room, size), dtype=np.float32)
    found[:, :, :used] = array
    return found


def _taken(array: np.ndarray, order_R: np.ndarray, used: int) -> np.ndarray:
    """The array of the cache with its sequences in another number, of which `used` tokens are copied."""
    found = np.zeros((len(order_R), *array.shape[1:]), dtype=np.float32)
    found[:, :, :used] = array[order_R, :, :used]
    return found
