"""An encoder that stands still: its weights, and the statistics of its batch norm."""

from torch import nn

from kaggle_unet.errors import ConfigError


class Freezer:
    """Stops and releases a network's encoder, by epoch."""

    def __init__(self, network: nn.Module, epochs: int) -> None:
        self._epochs = epochs
        self._encoder = _find_encoder(network) if epochs else nn.Identity()
        self._parameters = [parameter for parameter in self._encoder.parameters() if parameter.requires_grad]

    def begin_epoch(self, epoch: int) -> bool:
        """Stop or release the encoder of a network that is in training mode."""
        is_frozen = epoch <= self._epochs
        if is_frozen:
            self._encoder.eval()
        changed = any(parameter.requires_grad == is_frozen for parameter in self._parameters)
        for parameter in self._parameters:
            parameter.requires_grad_(not is_frozen)
        return changed


def _find_encoder(network: nn.Module) -> nn.Module:
    for name, module in network.named_modules():
        if name.rpartition(".")[2] == "encoder":
            assert isinstance(module, nn.Module)
            return module
    name = type(network).__name__
    msg = f"training.freeze_encoder_epochs needs a network with an encoder, as those of model smp; {name} has none: "
    msg += "set it to 0"
    raise ConfigError(msg)
