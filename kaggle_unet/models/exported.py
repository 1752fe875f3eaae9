"""Exported networks: ONNX graphs with the config as JSON in their metadata, computed by ONNX Runtime.

A graph takes normalised inputs, float32 (B, C, H, W), and gives logits; batch, height and width are free. torch's older
exporter follows one forward pass and bakes in whatever that pass decides, so `steps.export` compares every graph with
its network at another size. The newer one takes half a minute and fails on networks that interpolate (decision 0015).
"""

import io
import json
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kaggle_unet.errors import DataError, import_extra, reading
from kaggle_unet.models.checkpoint import METADATA, Checkpoint, read_hashed, write_hashed

FORMAT = 1
_INPUTS, _LOGITS = "inputs", "logits"
_OPSET = 18  # the newest that the exporter knows


def trace_network(network: nn.Module, inputs: Tensor) -> bytes:
    """Turn a network into an ONNX graph by following a forward pass; the sizes of these inputs are not kept."""
    file = io.BytesIO()
    sides = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()), torch.no_grad():
        torch.onnx.export(
            network.eval(),
            (inputs,),
            file,  # type: ignore[arg-type]  # the older exporter also writes to in-memory files
            dynamo=False,
            opset_version=_OPSET,
            input_names=[_INPUTS],
            output_names=[_LOGITS],
            dynamic_axes={_INPUTS: sides, _LOGITS: {axis: f"{side} of logits" for axis, side in sides.items()}},
        )
    return file.getvalue()


def write_exported(path: Path, graph: bytes, about: Mapping[str, Any]) -> None:
    """Write a graph with the description that `load_exported` returns, and its hash beside it."""
    onnx = import_extra("onnx", "onnx")
    model = onnx.load_model_from_string(graph)
    onnx.helper.set_model_props(model, {METADATA: json.dumps({"format": FORMAT, **about})})
    onnx.checker.check_model(model)
    write_hashed(path, model.SerializeToString())


def load_exported(path: Path) -> Checkpoint:
    """Read an exported file as `load_checkpoint` reads checkpoints; its `model` is the network itself."""
    data, digest = read_hashed(path)
    with reading(f"exported file {path}", "export the run again"):
        network = OnnxNetwork(data)
        about = json.loads(network.metadata.get(METADATA, "null"))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        msg = f"exported file {path}: not written by this version of kaggle-unet; write it with: kaggle-unet export "
        raise DataError(f"{msg}RUN -o {path.name}")
    network.margin = about["margin"]
    return {**about, "model": network, "sha256": digest}


class OnnxNetwork(nn.Module):
    """An exported graph as a network; it computes in float32, on the CPU, with as many threads as torch."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        runtime = import_extra("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; warnings tell of devices that this machine lacks
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.margin = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits."""
        (logits,) = self._session.run([_LOGITS], {_INPUTS: inputs.contiguous().cpu().numpy()})
        return torch.from_numpy(logits).to(inputs.device)
