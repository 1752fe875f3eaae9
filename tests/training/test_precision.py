import pytest
import torch

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.device import count_workers, select_device


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be another machine."""

    def pretend(cuda=None, avx512=False, amx=False, mps=False, capability="AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("traits", "device", "precision", "channels_last"),
    [
        ({}, "cpu", "32", False),
        ({"capability": "AVX512"}, "cpu", "32", True),
        ({"mps": True, "capability": "AVX512"}, "mps", "32", False),
        ({"avx512": True}, "cpu", "bf16", True),
        ({"amx": True}, "cpu", "bf16", True),
        ({"mps": True, "avx512": True}, "mps", "32", False),
        ({"cuda": (7, 5), "avx512": True}, "cuda", "32", True),
        ({"cuda": (8, 0)}, "cuda", "bf16", True),
        ({"cuda": (9, 0)}, "cuda", "bf16", True),
    ],
)
def test_auto_follows_what_the_device_can_do(machine, traits, device, precision, channels_last):
    machine(**traits)
    device_config = select_device("auto", "auto")
    assert (device_config.device, device_config.precision, device_config.channels_last) == (
        device,
        precision,
        channels_last,
    )


def test_a_torch_without_the_probes_computes_in_32(machine, monkeypatch):
    machine()
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert select_device("auto", "auto").precision == "32"


def test_explicit_settings_win(machine):
    machine(avx512=True)
    assert select_device("32", "auto").channels_last is False
    assert select_device("32", True).channels_last is True
    assert select_device("bf16", False).channels_last is False
    machine(cuda=(7, 0))
    assert select_device("fp16", "auto").precision == "fp16"


def test_fp16_on_a_cpu_is_refused_with_a_better_idea(machine):
    machine()
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device, this is cpu; set bf16"):
        select_device("fp16", "auto")


def test_the_record_is_plain_and_the_text_names_the_reason(machine):
    machine(avx512=True)
    device_config = select_device("auto", "auto")
    assert device_config.record["reason"] == "the CPU has AVX512-BF16"
    assert device_config.text.startswith("cpu, precision bf16, channels_last, ")
    assert (device_config.precision, device_config.memory_format) == ("bf16", torch.channels_last)
    assert select_device("32", "auto").memory_format == torch.contiguous_format


def test_explicit_settings_are_recorded(machine):
    machine()
    device_config = select_device("32", "auto", compiled=True, deterministic=True)
    assert (device_config.record["compiled"], device_config.record["deterministic"]) == (True, True)
    assert ", compiled, deterministic, " in device_config.text


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "n"),
    [("auto", "cpu", 16, 0), ("auto", "cuda", 4, 3), ("auto", "cuda", 64, 8), ("auto", "cuda", 1, 0), (5, "cpu", 2, 5)],
)
def test_batches_are_prepared_where_cores_are_free(monkeypatch, wanted, device, cores, n):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert count_workers(wanted, device) == n
