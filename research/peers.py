"""What `benchmark.py` compares with: networks alone, a small U-Net in INT8, an app that does nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from torch import nn
from torch.nn import functional


def inferring(network: Callable[[torch.Tensor], Any], values: np.ndarray) -> Callable[[], Any]:
    return torch.inference_mode()(lambda: network(torch.from_numpy(values)))


def session(path: Path, batch: np.ndarray, threads: int = 0) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: opened.run(None, {opened.get_inputs()[0].name: batch})


def int8(network: nn.Module, values: np.ndarray, scratch: Path) -> Path:
    """Return a network as INT8; calibrated on the values alone, as only its time is of interest."""

    class Reader(CalibrationDataReader):
        batches = iter([{"x": values}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    full, small = scratch / "rival.onnx", scratch / "rival-int8.onnx"
    torch.onnx.export(network.eval(), (torch.from_numpy(values),), full, input_names=["x"], verbose=False)
    quantize_static(full, small, Reader())
    return small


class ResNetUNet(nn.Module):
    """A U-Net on ResNet-18 (arXiv:1512.03385) with random weights, as others ship it to browsers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stages, self.ups = unit(1, 64, 7, 2), nn.ModuleList(), nn.ModuleList()
        for before, width in itertools.pairwise((64, 64, 128, 256, 512)):
            stride = 1 if width == 64 else 2
            self.stages.append(nn.Sequential(Residual(before, width, stride), Residual(width, width, 1)))
        for below, skip, width in ((512, 256, 256), (256, 128, 128), (128, 64, 64), (64, 64, 32)):
            self.ups.append(nn.Sequential(unit(below + skip, width), unit(width, width)))
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [self.stem(x)]
        x = functional.max_pool2d(maps[0], 3, 2, 1)
        for stage in self.stages:
            maps.append(x := stage(x))
        for up, skip in zip(self.ups, maps[-2::-1], strict=True):
            x = up(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], dim=1))
        return functional.interpolate(self.head(x), scale_factor=2.0)


class Residual(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(before, width, 3, stride), unit(width, width, relu=False))
        self.short = nn.Identity() if stride == 1 else unit(before, width, 1, stride, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.short(x))


def unit(before: int, width: int, side: int = 3, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    convolution = nn.Conv2d(before, width, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), *([nn.ReLU()] if relu else []))


def serve_echo(answer: tuple[Any, ...], port: int) -> None:
    import gradio as gr

    with gr.Blocks() as demo:
        image, shown = (
            gr.Image(type="filepath"),
            [gr.Image(format="png"), gr.Label(), gr.JSON(), gr.Markdown()],
        )
        shown += [gr.Image(format="png"), gr.JSON()]
        gr.Button().click(lambda image: answer, image, shown, api_name="predict", queue=False)
    demo.launch(server_port=port, quiet=True)
