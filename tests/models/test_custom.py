"""Networks of one's own: run only when trusted, and checked before they are trained."""

import sys

import pytest
import torch

from kaggle_unet.config import parse_config
from kaggle_unet.errors import ConfigError
from kaggle_unet.models.create import create_model, input_sizes
from kaggle_unet.models.custom import trust_code

MODULE = """
import pathlib
import torch
from torch.nn import Conv2d, MaxPool2d, Sequential, Upsample

pathlib.Path("imported.txt").write_text("this module ran")

def build(in_channels, out_channels, width=4):
    return Sequential(Conv2d(in_channels, width, 3, padding=1), Conv2d(width, out_channels, 1))

def narrow(in_channels, out_channels):
    return Conv2d(in_channels, out_channels + 1, 1)

def cropped(in_channels, out_channels):
    return Conv2d(in_channels, out_channels, 3)

def pooled(in_channels, out_channels):
    return Sequential(MaxPool2d(64), Conv2d(in_channels, out_channels, 1), Upsample(scale_factor=64))

def pooled_by_12(in_channels, out_channels):
    return Sequential(MaxPool2d(12), Conv2d(in_channels, out_channels, 1), Upsample(scale_factor=12))

def caching(in_channels, out_channels):
    class Ramp(Conv2d):
        ramp = None
        def forward(self, x):
            self.ramp = torch.linspace(0, 1, x.shape[-1]) if self.ramp is None else self.ramp
            return super().forward(x) * self.ramp
    return Ramp(in_channels, out_channels, 1)

def tuples(in_channels, out_channels):
    class Two(Conv2d):
        def forward(self, x):
            return super().forward(x), x
    return Two(in_channels, out_channels, 1)

def number(in_channels, out_channels):
    return 3

def failing(in_channels, out_channels):
    raise ValueError("no GPU of mine")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current folder, not imported before or after."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield name
    sys.modules.pop(name, None)


def settings(module, factory="build", more=""):
    text = f"competition: {{name: folder}}\nmodel: {{name: 'python:{module}:{factory}'{more}}}"
    return parse_config(text).model


def test_a_factory_is_called_with_channels_and_options(module):
    with trust_code():
        network = create_model(settings(module, more=", options: {width: 7}"), in_channels=3, out_channels=2)
    assert network[0].weight.shape == (7, 3, 3, 3)
    assert network.training
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 2, 8, 8)


def test_without_trust_the_module_is_named_and_not_imported(module, tmp_path):
    with pytest.raises(ConfigError, match=rf"{module}, which was not imported.*--trust-code"):
        create_model(settings(module), in_channels=1, out_channels=1)
    with trust_code(), trust_code(False), pytest.raises(ConfigError, match="not imported"):
        create_model(settings(module), in_channels=1, out_channels=1)
    assert module not in sys.modules
    assert not (tmp_path / "imported.txt").exists()


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("narrow", r"returns \(1, 3, 32, 32\) .* expected float logits of shape \(1, 2, 32, 32\)"),
        ("cropped", r"returns \(1, 2, 30, 30\)"),
        ("pooled", r"on an input of shape \(1, 1, 32, 32\).* model.input_multiple"),
        ("tuples", "returns tuple for"),
        ("number", "returned a int, expected a torch.nn.Module"),
        ("failing", r"ValueError: no GPU of mine; expected .* a function failing\(in_channels"),
        ("absent", "AttributeError: .*absent"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(module, factory, says):
    with trust_code(), pytest.raises(ConfigError, match=f"{module}:{factory}: {says}"):
        create_model(settings(module, factory), in_channels=1, out_channels=2)


def test_a_module_that_is_not_there_is_named(module):
    with trust_code(), pytest.raises(ConfigError, match="No module named 'absent_module'"):
        create_model(settings("absent_module"), in_channels=1, out_channels=1)


def test_the_sides_of_inputs_are_multiples_of_what_the_config_says(module):
    assert input_sizes(settings(module)) == (32, 0)
    deep = settings(module, "pooled", ", input_multiple: 64")
    assert input_sizes(deep) == (64, 0)
    with trust_code():
        create_model(deep, in_channels=1, out_channels=1)


@pytest.mark.parametrize("name", ["python:", "python:a", "python:a:b:c", "python:a b:c", "python:os.system('x'):f"])
def test_only_the_name_of_a_module_and_a_function_is_a_name(name):
    with pytest.raises(ConfigError, match="should match pattern"):
        parse_config(f'competition: {{name: folder}}\nmodel: {{name: "{name}"}}')


def test_a_network_trains_with_what_it_cached_while_it_was_checked(module):
    with trust_code():
        network = create_model(settings(module, "caching"), in_channels=1, out_channels=1)
    network(torch.zeros(1, 1, 32, 32)).sum().backward()


def test_a_network_is_checked_on_sides_that_are_multiples_of_what_it_takes(module):
    with trust_code():
        network = create_model(settings(module, "pooled_by_12", ", input_multiple: 12"), in_channels=1, out_channels=1)
    assert network(torch.zeros(1, 1, 12, 24)).shape == (1, 1, 12, 24)
