"""ONNX graphs give at any size what their networks give, and files are checked before they are used."""

import hashlib
import sys

import onnx
import pytest
import torch
from torch import nn

from kaggle_unet.data.batch import PadSpec, padded_shape
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.models.create import create_model, input_sizes
from kaggle_unet.models.exported import OnnxNetwork, load_exported, trace_network, write_exported
from kaggle_unet.models.settings import EmptyHeadSettings, PlainUNetSettings, SmpSettings, TernausNetSettings

SMALL = {"filters": 4, "depth": 2}
NETWORKS = {
    "plain": PlainUNetSettings(**SMALL),
    "without padding": PlainUNetSettings(**SMALL, padding="valid", upsampling="transposed3"),
    "everything": PlainUNetSettings(
        **SMALL,
        unshuffle=2,
        norm="group",
        activation="elu",
        attention="scse",
        residual=True,
        hypercolumn=True,
        deep_supervision=True,
        upsampling="bilinear",
        empty_head=EmptyHeadSettings(gate_above=0.5),
    ),
    "ternausnet": TernausNetSettings(filters=1),
    "smp": SmpSettings(encoder="mobilenet_v2", hypercolumn=True, deep_supervision=True),
}


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return trace_network(nn.Conv2d(1, 2, 3, padding=1), torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_gives_a_networks_probabilities_at_any_size(name):
    torch.manual_seed(0)
    settings = NETWORKS[name]
    network = create_model(settings, in_channels=2, out_channels=3).eval()
    multiple, margin = input_sizes(settings)
    shapes = [
        padded_shape((n * multiple, m * multiple), PadSpec(multiple, margin)) for n, m in ((2, 3), (4, 1), (1, 1))
    ]
    first, *others = (torch.rand(n, 2, *shape) for n, shape in enumerate(shapes, 1))
    found = OnnxNetwork(trace_network(network, first))
    for inputs in others:
        with torch.inference_mode():
            torch.testing.assert_close(found(inputs).sigmoid(), network(inputs).sigmoid(), rtol=0, atol=1e-5)


def test_an_image_that_the_empty_head_clears_is_cleared_in_the_graph():
    torch.manual_seed(0)
    network = create_model(NETWORKS["everything"], in_channels=1, out_channels=1).eval()
    found = OnnxNetwork(trace_network(network, torch.rand(2, 1, 16, 24)))
    inputs = torch.rand(2, 1, 24, 16)
    for bias, n_cleared in ((-9.0, 0), (9.0, 2)):
        network.empty.linear.bias.data.fill_(bias)
        found = OnnxNetwork(trace_network(network, inputs[..., :16, :]))
        assert (found(inputs).amax(dim=(1, 2, 3)) <= -10).sum() == n_cleared


def test_what_is_written_beside_a_graph_is_read(graph, tmp_path):
    path = tmp_path / "model.onnx"
    write_exported(path, graph, {"config": {"input": {"mean": 0.5}}, "margin": 3})
    found = load_exported(path)
    assert found["config"] == {"input": {"mean": 0.5}}
    assert found["model"].margin == 3
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "model.onnx.sha256").read_text() == f"{found['sha256']}  model.onnx\n"


def test_a_flipped_bit_is_noticed(graph, tmp_path):
    path = tmp_path / "model.onnx"
    write_exported(path, graph, {"margin": 0})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"model.onnx: damaged, its sha256 is"):
        load_exported(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"no graph at all", "is damaged .*; export the run again"), (None, "not written by this version of kaggle-unet")],
)
def test_other_files_are_named_as_such(graph, tmp_path, data, reason):
    path = tmp_path / "other.onnx"
    path.write_bytes(graph if data is None else data)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "other.onnx.sha256").write_text(f"{digest}  other.onnx\n")
    with pytest.raises(DataError, match=f"exported file {path}.*{reason}"):
        load_exported(path)


def test_a_file_of_another_version_is_named_as_such(graph, tmp_path):
    path = tmp_path / "later.onnx"
    write_exported(path, graph, {"format": 2, "margin": 0})
    with pytest.raises(DataError, match=r"later\.onnx: not written by this version of kaggle-unet"):
        load_exported(path)


def test_a_graph_is_of_standard_operators_with_free_sizes(graph):
    model = onnx.load_model_from_string(graph)
    assert {domain.domain for domain in model.opset_import} == {""}
    (inputs,), (logits,) = model.graph.input, model.graph.output
    assert (inputs.name, logits.name) == ("inputs", "logits")
    assert [side.dim_param for side in inputs.type.tensor_type.shape.dim] == ["batch", "", "height", "width"]


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_an_error_with_the_line_that_installs_it(graph, tmp_path, monkeypatch, library):
    path = tmp_path / "model.onnx"
    write_exported(path, graph, {"margin": 0})
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"needs {library}.*pip install -e '\.\[onnx\]'"):
        write_exported(path, graph, {}) if library == "onnx" else load_exported(path)
