"""A custom network: `model.name: python:package.module:factory`.

This is the only place where a config can run code that is not the kit's, and it does so only inside `trust_code`.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.settings import CustomSettings

if TYPE_CHECKING:
    from torch import nn

_is_trusted: ContextVar[bool] = ContextVar("is_trusted", default=False)


@contextmanager
def trust_code(trusted: bool = True) -> Iterator[None]:
    """Allow modules named by configs to be imported in this block."""
    token = _is_trusted.set(trusted)
    try:
        yield
    finally:
        _is_trusted.reset(token)


def build_custom(settings: CustomSettings, in_channels: int, out_channels: int) -> "nn.Module":
    """Call the factory that a config names, and check the network on a small input."""
    _, module, factory = settings.name.split(":")
    if not _is_trusted.get():
        raise ConfigError(
            f"model.name {settings.name}: this network is code of the module {module}, which was not imported; if you "
            "trust it, repeat with --trust-code (in Python: trust_code=True)"
        )
    if "" not in sys.path:  # a console script searches its own folder, not the current one
        sys.path.insert(0, "")
    try:
        network = getattr(importlib.import_module(module), factory)(in_channels, out_channels, **settings.options)
    except Exception as error:  # any code, so any error
        raise ConfigError(
            f"model.name {settings.name}: {type(error).__name__}: {error}; expected a module in the current folder or "
            f"an installed one, with a function {factory}(in_channels, out_channels, **model.options)"
        ) from error
    side = -(-32 // settings.input_multiple) * settings.input_multiple
    remedy = "fix forward, or set model.input_multiple to what its sides must be multiples of"
    return check_output(network, f"model.name {settings.name}", (in_channels, out_channels, side), remedy)


def check_output(network: object, key: str, sizes: tuple[int, int, int], remedy: str) -> "nn.Module":
    """Return a network if it gives one plane of logits per output channel, as large as its input; otherwise raise."""
    import torch
    from torch import Tensor, nn

    if not isinstance(network, nn.Module):
        raise ConfigError(f"{key}: returned a {type(network).__name__}, expected a torch.nn.Module")
    in_channels, out_channels, side = sizes
    shape, wanted = (1, in_channels, side, side), (1, out_channels, side, side)
    is_training = network.training
    try:
        with torch.no_grad():  # not inference_mode: a network could not train with what it caches there
            logits = network.eval()(torch.zeros(shape))
    except Exception as error:  # any code, so any error
        msg = f"{key}: on an input of shape {shape}: {type(error).__name__}: {error}; {remedy}"
        raise ConfigError(msg) from error
    network.train(is_training)
    if not isinstance(logits, Tensor) or logits.shape != wanted or not logits.is_floating_point():
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(
            f"{key}: returns {came} for an input of shape {shape}, expected float logits of shape {wanted}: one plane "
            f"per plane of the codec; {remedy}"
        )
    return network
