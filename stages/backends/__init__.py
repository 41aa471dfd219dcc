"""Backends, which open and quantize models: a folder each, with runner.py and, where it quantizes, quantizer.py.

`tfidf` is what folders of earlier versions call `linear`.
"""

RUNNERS = {
    "linear": "stages.backends.linear.runner:open_runner",
    "onnxruntime_int8": "stages.backends.onnxruntime_int8.runner:open_runner",
    "openvino_int8": "stages.backends.openvino_int8.runner:open_runner",
    "pytorch": "stages.backends.pytorch.runner:open_runner",
    "static": "stages.backends.static.runner:open_runner",
    "tfidf": "stages.backends.linear.runner:open_runner",
    "torchao_int8": "stages.backends.torchao_int8.runner:open_runner",
}

NEEDS = {"openvino_int8": ("nncf", "openvino"), "torchao_int8": ("torchao",)}  # packages that are extras

QUANTIZERS = {
    "auto": "stages.backends.auto.quantizer:quantize",
    "onnxruntime_int8": "stages.backends.onnxruntime_int8.quantizer:quantize",
    "openvino_int8": "stages.backends.openvino_int8.quantizer:quantize",
    "torchao_int8": "stages.backends.torchao_int8.quantizer:quantize",
}
