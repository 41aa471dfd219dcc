"""What the benchmark of writing compares: one model's weights in torch, in ONNX Runtime's own tools, and as Winnow's.

Each is a stepper (stages/decoding/stepper.py) for sequences of one length. torch runs transformers' own code: eager
with the cache that grows, compiled with the one of a fixed length, as its `generate` has them. The plain graph is what
torch's exporter makes of that code, the cache its inputs and outputs, through ONNX Runtime's own preparation and
quantize_dynamic; it runs with bound memory, so that the cache is not copied to Python and back.
R sequences, T tokens, P tokens in the cache, S tokens of a source, V tokens of the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache, StaticCache

from stages.backends.onnxruntime_int8.writing import prepared
from stages.backends.onnxruntime_int8.writing.stepper import GraphStepper, open_sessions
from stages.backends.pytorch.stepping import stepper_of
from stages.backends.quiet import quiet
from stages.decoding.stepper import Stepper

Open = Callable[[], Stepper]
OURS, FLOAT, EAGER, COMPILED, PLAIN = (
    "Winnow, int8", "Winnow, float32", "torch, eager", "torch, compiled", "ONNX Runtime's tools, int8"
)  # fmt: skip
OPSET = 20


def taking_part(model: Any, scratch: Path, *, threads: int, room: int) -> dict[str, Open]:
    """Winnow's first; `room`: the most tokens of a sequence, for caches of a fixed length."""
    torch.set_num_threads(threads)
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    made = prepared.prepare(weights, json.loads(model.config.to_json_string(use_diff=False)), per_channel=True)
    found: dict[str, Open] = {}
    for name, kept in ((OURS, ()), (FLOAT, made.matrices)):
        folder = scratch / name
        folder.mkdir()
        made.write(folder, kept)
        found[name] = _ours(folder, threads)
    compiled = torch.compile(model, dynamic=False)
    plain = _opened(exported(model, scratch), threads)
    return {
        **found,
        EAGER: lambda: stepper_of(model),
        COMPILED: lambda: Compiled(model, compiled, room),
        PLAIN: lambda: Plain(model, plain),
    }


def _ours(folder: Path, threads: int) -> Open:
    sessions = open_sessions(folder, threads)
    return lambda: GraphStepper(sessions)


def _opened(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Compiled:
    """torch.compile, with a cache of a fixed length, so that nothing is compiled again on the way."""

    def __init__(self, model: Any, compiled: Any, room: int) -> None:
        self._model, self._compiled = model, compiled
        self._told: dict[str, Any] = {}
        cache = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=room)
        self._cache: Any = EncoderDecoderCache(cache, DynamicCache()) if model.config.is_encoder_decoder else cache

    @torch.inference_mode()
    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """The prompt is read by the model as it is: each length would be compiled anew."""
        if sources is not None:
            self._told = {"encoder_outputs": self._model.get_encoder()(input_ids=torch.tensor(sources))}
        return self._logits(self._model, torch.tensor(ids))

    @torch.inference_mode()
    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Append a token each."""
        assert order_R is None
        return self._logits(self._compiled, torch.from_numpy(tokens_R)[:, None])

    def _logits(self, run: Any, ids_RT: torch.Tensor) -> np.ndarray:
        name = "decoder_input_ids" if self._told else "input_ids"
        found = run(**{name: ids_RT}, **self._told, past_key_values=self._cache, use_cache=True)
        return found.logits[:, -1].numpy()


class WithCache(nn.Module):
    """A model as a graph with its cache: (ids, [mask of the source, the encoder's output,] *cache) -> logits, *cache.

    Of an encoder-decoder the source's keys and values are in the cache, behind the sequence's own.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.apart = model, model.config.is_encoder_decoder

    def forward(self, ids_RT: torch.Tensor, *cache: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Without a mask: all sequences are of one length."""
        if not self.apart:
            kept = DynamicCache(list(zip(cache[::2], cache[1::2], strict=True)))
            logits = self.model(input_ids=ids_RT, past_key_values=kept, use_cache=True).logits
            return (logits[:, -1], *_arrays(kept))
        half = len(cache[1:]) // 2
        own, source = (
            list(zip(part[::2], part[1::2], strict=True)) for part in (cache[1 : 1 + half], cache[1 + half :])
        )
        both = EncoderDecoderCache(DynamicCache(own), DynamicCache(source))
        both.is_updated = dict.fromkeys(range(len(own)), True)
        logits = self.model(
            encoder_outputs=(cache[0],), decoder_input_ids=ids_RT, past_key_values=both, use_cache=True
        ).logits  # fmt: skip
        return (logits[:, -1], *_arrays(both.self_attention_cache))


def _arrays(cache: Any) -> list[torch.Tensor]:
    return [array for layer in cache.layers for array in (layer.keys, layer.values)]


def _filled(model: Any, ids: torch.Tensor, sources: torch.Tensor | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The logits (R, V) behind a prompt, and what a step is given besides its tokens: see WithCache."""
    with torch.inference_mode():
        if sources is None:
            cache = DynamicCache(config=model.config)
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
            return logits[:, -1], _arrays(cache)
        both = EncoderDecoderCache(DynamicCache(), DynamicCache())
        read = model.get_encoder()(input_ids=sources)
        logits = model(encoder_outputs=read, decoder_input_ids=ids, past_key_values=both, use_cache=True).logits
        caches = [*_arrays(both.self_attention_cache), *_arrays(both.cross_attention_cache)]
        return logits[:, -1], [read.last_hidden_state, *caches]


def exported(model: Any, scratch: Path) -> Path:
    """The model's step as ONNX Runtime's own tools make it int8."""
    sources = torch.ones(2, 5, dtype=torch.int64) if model.config.is_encoder_decoder else None
    _, given = _filled(model, torch.ones(2, 3, dtype=torch.int64), sources)
    given = [array.clone() for array in given]
    kept = 2 * len(given[1:]) // 4 if sources is not None else len(given)
    rows, past, read = (torch.export.Dim(name, min=1, max=4096) for name in ("R", "P", "S"))
    shapes: list[dict[int, Any]] = [{0: rows, 2: past}] * kept
    if sources is not None:
        shapes = [{0: rows, 1: read}, *shapes, *[{0: rows, 2: read}] * kept]
    names = [f"given.{number}" for number in range(len(given))]
    first = 0 if sources is None else 1
    paths = [scratch / f"plain.{stage}.onnx" for stage in ("exported", "prepared", "int8")]
    with quiet():
        program = torch.onnx.export(
            WithCache(model), (torch.ones(2, 1, dtype=torch.int64), *given), dynamo=True, external_data=False,
            opset_version=OPSET, input_names=["ids", *names],
            output_names=["logits", *(f"kept.{number}" for number in range(first, first + kept))],
            dynamic_shapes=({0: rows}, tuple(shapes)),
        )  # fmt: skip
        assert program is not None
        graph = program.model_proto
        del graph.graph.value_info[:]  # their shapes contradict those that the quantizer infers
        onnx.save(graph, paths[0])
        quant_pre_process(str(paths[0]), str(paths[1]), skip_symbolic_shape=True)
        quantize_dynamic(paths[1], paths[2], weight_type=QuantType.QInt8, per_channel=True)
    return paths[2]


class Plain:
    """The exported graph: a step is given the cache that the last one put out, in ONNX Runtime's own memory."""

    def __init__(self, model: Any, session: onnxruntime.InferenceSession) -> None:
        self._model, self._session = model, session
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._given: dict[str, Any] = {}

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """The prompt is read by torch: the graph is that of a step."""
        read = None if sources is None else torch.tensor(sources)
        logits, given = _filled(self._model, torch.tensor(ids), read)
        self._given = {
            f"given.{number}": onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array.numpy()))
            for number, array in enumerate(given)
        }
        return logits.numpy()

    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Append a token each."""
        assert order_R is None
        bound = self._session.io_binding()
        bound.bind_cpu_input("ids", np.ascontiguousarray(tokens_R[:, None]))
        for name, value in self._given.items():
            bound.bind_ortvalue_input(name, value)
        for name in self._outputs:
            bound.bind_output(name, "cpu")
        self._session.run_with_iobinding(bound)
        logits, *kept = bound.get_outputs()
        self._given |= {
            f"given.{name.removeprefix('kept.')}": one for name, one in zip(self._outputs[1:], kept, strict=True)
        }
        return logits.numpy()
