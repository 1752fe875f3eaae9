"""Networks on VGGs without the classifier that smp throws away."""

from types import SimpleNamespace

import pytest
import torchvision
from torch import nn


class _Tiny(nn.Linear):
    def __init__(self, *_):
        super().__init__(1, 1)


@pytest.fixture(autouse=True)
def _no_classifier(monkeypatch):
    """To draw its 120 million numbers takes a second for each network."""
    monkeypatch.setattr(torchvision.models.vgg, "nn", SimpleNamespace(**{**vars(nn), "Linear": _Tiny}))
