"""A page that runs a model in the browser: static files, to be served from anywhere.

What `Predictor` does around the network is written again in `web/predictor.js`;
tests/browser/test_web_page.py compares the two.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from busi_unet.app import text
from busi_unet.config import ONNX_NAME, ModelConfig
from busi_unet.errors import BusiUNetError, MissingDependencyError, first_line
from busi_unet.inference.predictor import BLANK, OUT_OF_DISTRIBUTION, Predictor
from busi_unet.inference.runtime import OnnxRuntime, load_runtime
from busi_unet.inference.twin import EXAMPLES, largest_difference
from busi_unet.io.decode import ImageSource
from busi_unet.io.files import scratch_folder
from busi_unet.models.ood import OodDetector
from busi_unet.publish import repository_folder

_PAGE = Path(__file__).with_name("web")
_RUNTIME, _SHA512 = (
    "onnxruntime-web@1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
# Of this package: its loader, and WebAssembly for processors alone, the smallest there is.
_MODULES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs")
_WASM = "ort-wasm-simd-threaded.wasm"
# Of a layer to be stored as INT8. The smaller ones matter more: with them, the embedded model would be a
# megabyte smaller, and its answers ten times as far from its own.
_MANY_WEIGHTS = 100_000


def build_web_page(
    model: str | os.PathLike, output: str | os.PathLike, images: Sequence[ImageSource] = ()
) -> float:
    """Lay out a page that analyses images in the browser with a model.

    The folder then holds index.html, page.css, page.js and predictor.js; sw.js, which keeps the page for
    use without a network; README.md of a static Space; model.json, what the page needs of the config;
    model.onnx.gz; and ONNX Runtime.

    Args:
        model: a model folder with `model.onnx`.
        output: new or empty folder to write; it appears whole or not at all.
        images: to compare the page's network on, besides the examples of the app.

    Returns:
        The largest difference of a lesion probability or a class probability from those of `model.onnx`.

    Raises:
        IncompatibleModelError: no model with `model.onnx`, or a stale one.
        MissingDependencyError, BusiUNetError: no npm, or it cannot fetch ONNX Runtime; the disk refuses.
    """
    with repository_folder(output) as folder:
        files = {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir())} | _onnx_runtime()
        runtime, config, ood = load_runtime(Path(model), "onnx")
        network = _with_small_weights((Path(model) / ONNX_NAME).read_bytes())
        pair = [Predictor(each, config) for each in (runtime, OnnxRuntime(network))]
        files |= {"model.json": _parameters(config, ood), f"{ONNX_NAME}.gz": _packed(network)}
        difference = largest_difference(pair, [*EXAMPLES, *images])
        version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
        kept = [f"{name}?{version}" for name in files if name not in ("index.html", "sw.js", "README.md")]
        for name, content in files.items():
            if (_PAGE / name).is_file():
                content = content.replace(b"__VERSION__", version.encode())
                content = content.replace(b"__FILES__", json.dumps(["./", *kept]).encode())
            (folder / name).write_bytes(content)
    return difference


def _parameters(config: ModelConfig, ood: OodDetector | None) -> bytes:
    """Return what the page needs to know of a model besides the network, JSON."""
    words = {
        "out_of_distribution": OUT_OF_DISTRIBUTION,
        "blank": BLANK,
        "refused_help": text.REFUSED_HELP,
        "analysed_anyway": text.ANALYSED_ANYWAY,
    }
    parameters = {
        "preprocess": dataclasses.asdict(config.preprocess),
        "thresholds": dataclasses.asdict(config.thresholds),
        "calibration": dataclasses.asdict(config.calibration),
        "class_names": config.class_names,
        "ood": ood and {name: array.tolist() for name, array in vars(ood).items()},
        "words": words,
    }
    return json.dumps(parameters).encode()


def _with_small_weights(network: bytes) -> bytes:
    """Return a network with its larger layers' weights as INT8, by output channel; it computes in float32."""
    model = onnx.load_from_string(network)
    graph = model.graph
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        tensor = halves.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or math.prod(tensor.dims) < _MANY_WEIGHTS:
            continue
        weights, name = numpy_helper.to_array(tensor).astype(np.float32), tensor.name
        scale = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / 127 + 1e-12
        tensor.CopyFrom(numpy_helper.from_array(np.round(weights / scale).astype(np.int8), name))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        # ONNX Runtime computes cast and product once, when it loads.
        nodes.append(onnx.helper.make_node("Mul", [f"{name}_int8", f"{name}_scale"], list(node.output)))
        node.output[0] = f"{name}_int8"
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def _packed(content: bytes) -> bytes:
    # Without a date, so that the same model gives the same page.
    return gzip.compress(content, 9, mtime=0)


def _onnx_runtime() -> dict[str, bytes]:
    """Return the files of ONNX Runtime for browsers, which npm fetches, or finds in its cache."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError("npm is not installed.", "Install Node.js, which brings it along.")
    with scratch_folder() as scratch:
        command = [npm, "pack", _RUNTIME, "--prefer-offline", "--silent", "--pack-destination", scratch]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        packages = list(scratch.glob("*.tgz"))
        if done.returncode or not packages:
            raise BusiUNetError(
                f"npm could not fetch {_RUNTIME} ({first_line(OSError(done.stderr))}).", "Check the network."
            )
        package = packages[0].read_bytes()
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != _SHA512:
        raise BusiUNetError(f"What npm fetched is not {_RUNTIME}.", "Run npm cache clean --force, and again.")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        found = {name: archive.extractfile(f"package/dist/{name}").read() for name in (*_MODULES, _WASM)}
    found[f"{_WASM}.gz"] = _packed(found.pop(_WASM))
    return found
