"""The networks as ONNX, for ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from busi_unet.models.unet import Explained, UNet

_OPSET = 18


class _Served(nn.Module):
    def __init__(self, model: UNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.explain(image))


def export_unet(model: UNet, size: int) -> bytes:
    """Return a network as ONNX: `image` float32 (N, 1, size, size), any N, to what `Explained` holds."""
    return export_onnx(_Served(model), {"image": torch.zeros(1, 1, size, size)}, Explained._fields)


def export_onnx(network: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> bytes:
    """Return a network as ONNX that computes in float32; any number of images at once.

    Args:
        network: on the CPU.
        inputs: an example of each, by name, in the order of `forward`.
        outputs: names.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            content,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
            opset_version=_OPSET,
            # The newer exporter takes 20 s of CPU time for what this one does in one.
            dynamo=False,
            # Does not join batch normalisation with weights, which are exact in half precision so;
            # ONNX Runtime joins them when it loads.
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    model = onnx.load_from_string(content.getvalue())
    _halve_weights(model.graph)
    for node in model.graph.node:
        # Paths on this machine.
        node.ClearField("doc_string")
    return model.SerializeToString()


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Store as float16 what is exact in it, with a cast that ONNX Runtime computes once, at loading."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        full, name = numpy_helper.to_array(tensor), tensor.name
        half = full.astype(np.float16)
        if np.array_equal(half, full):
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
