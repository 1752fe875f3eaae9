"""`export`: networks in, one ONNX file out that holds their mean, and in its metadata all that is needed to use it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kaggle_unet.config import Config, plain, without_weights
from kaggle_unet.data.batch import padded_shape
from kaggle_unet.errors import ConfigError, import_extra
from kaggle_unet.inference.predict import MeanNetwork
from kaggle_unet.models.checkpoint import hash_file
from kaggle_unet.models.exported import OnnxNetwork, trace_network, write_exported
from kaggle_unet.models.settings import EXPORTED
from kaggle_unet.steps.build import Ensemble, load_ensemble
from kaggle_unet.steps.provenance import refuse_foreign
from kaggle_unet.steps.second_level import choose_decoder
from kaggle_unet.steps.submit import describe_ensemble, without_places
from kaggle_unet.store.atomic import try_to_write
from kaggle_unet.targets.codecs import get_codec

MOST_DIFFERENCE = 1e-4  # of a probability


def export(
    config: Config, checkpoints: Sequence[Path], output: Path, *, decode: str | None, overrides: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Write the mean of networks as one file, and return its metadata and remarks for the user."""
    if output.suffix != EXPORTED:
        raise ConfigError(f"export: -o {output} must end in {EXPORTED}, as in -o model{EXPORTED}")
    for library in ("onnx", "onnxruntime"):
        import_extra(library, "onnx")
    refuse_foreign(hash_file(output), [output])
    try_to_write(output)
    ensemble = load_ensemble(checkpoints, config)
    if exported := [str(file) for file in ensemble.checkpoints if file.suffix == EXPORTED]:
        raise ConfigError(f"export: {', '.join(exported)} is exported already; give the run, or its checkpoints")
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, overrides=overrides)
    codec = get_codec(config.codec)
    network: nn.Module = MeanNetwork(ensemble.models, chosen.config.inference, codec.activation)
    network = ensemble.models[0] if len(ensemble.models) == 1 else network
    graph, difference = _trace(network, ensemble, softmax=codec.activation == "softmax")
    scores = [checkpoint["score"] for checkpoint in ensemble.checkpoints.values()]
    about = {
        "config": without_places(plain(without_weights(chosen.config))),
        "planes": codec.planes,
        "activation": codec.activation,
        "multiple": ensemble.pad_spec.multiple,
        "margin": ensemble.pad_spec.margin,
        "score": scores[0] if len(scores) == 1 else None,
        "checkpoints": describe_ensemble(config, ensemble.checkpoints)["checkpoints"],
        "largest_difference": difference,
    }
    write_exported(output, graph, about)
    second_level = chosen.names["second_level"]
    left_out = f"the second level {second_level} is no network and not in {output}; its labels are those without it"
    return about, chosen.remarks + ([left_out] if second_level else [])


def _trace(network: nn.Module, ensemble: Ensemble, *, softmax: bool) -> tuple[bytes, float]:
    """Return the graph of a network, and how far its probabilities are from the network's on inputs of another size."""
    multiple, channels = ensemble.pad_spec.multiple, len(ensemble.config.input.channels)
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.rand((n, channels, *padded_shape(shape, ensemble.pad_spec)), generator=generator)
        for n, shape in ((2, (2 * multiple, 3 * multiple)), (3, (4 * multiple, 2 * multiple)))
    )
    try:
        graph = trace_network(network, first)
        with torch.no_grad():
            logits = torch.stack([network(second).float(), OnnxNetwork(graph)(second)])
        wanted, found = logits.softmax(dim=2) if softmax else logits.sigmoid()
        difference = float((found - wanted).abs().max())
    except Exception as error:
        msg = f"this network can't be exported ({type(error).__name__}: {' '.join(str(error).split())[:300]}); predict "
        raise ConfigError(f"{msg}with its checkpoints") from error
    if not difference <= MOST_DIFFERENCE:
        raise ConfigError(
            f"this network can't be exported: on another size its graph differs by {difference:.2g} of a probability, "
            f"at most {MOST_DIFFERENCE:g} is allowed; predict with its checkpoints"
        )
    return graph, difference
