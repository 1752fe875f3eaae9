import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch import encoders as smp_encoders
from timm.models import _builder as timm_builder

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.models.create import create_model, input_sizes
from kaggle_unet.models.heads import Outputs
from kaggle_unet.models.settings import EmptyHeadSettings, PlainUNetSettings, SmpSettings, TernausNetSettings

REGISTRY = [
    PlainUNetSettings(filters=2, depth=2),
    PlainUNetSettings(filters=2, depth=2, unshuffle=4, hypercolumn=True, deep_supervision=True),
    SmpSettings(encoder="resnet18", options={"decoder_channels": [8, 8, 8, 4, 4]}),
    SmpSettings(architecture="Linknet", encoder="tu-resnet10t"),
    SmpSettings(encoder="resnet18", options={"encoder_depth": 3, "decoder_channels": [8, 8, 4]}),
    PlainUNetSettings(filters=4, depth=2, attention="scse", hypercolumn=True, deep_supervision=True, empty_head={}),
    SmpSettings(architecture="fpn", encoder="resnet18", empty_head=EmptyHeadSettings(gate_above=0.4, pooling="max")),
    SmpSettings(
        encoder="resnet18",
        options={"decoder_channels": [16] * 5, "decoder_attention_type": "scse"},
        hypercolumn=True,
        deep_supervision=True,
        empty_head=EmptyHeadSettings(dropout=0.1),
    ),
    TernausNetSettings(filters=2),
]


# Stages below encoder_depth, and the attention of a skip connection where there is none.
UNUSED_BY_SMP = ("encoder.layer3", "encoder.layer4", "decoder.blocks.4.attention1")
SHALLOW = {"encoder_depth": 4, "decoder_channels": [8, 8, 4, 4]}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever asks for the hub is refused, as on a machine without a network."""

    def refuse(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(smp_encoders, "hf_hub_download", refuse)
    monkeypatch.setattr(timm_builder, "load_state_dict_from_hf", refuse)


def first_conv(model):
    return next(module for module in model.encoder.modules() if isinstance(module, torch.nn.Conv2d))


@pytest.mark.parametrize("model_settings", REGISTRY, ids=lambda s: f"{s.name}-{getattr(s, 'architecture', '')}")
class TestEveryModel:
    def test_logits_have_the_size_of_the_inputs_and_a_plane_each(self, model_settings):
        model = create_model(model_settings, in_channels=2, out_channels=3).eval()
        multiple, _ = input_sizes(model_settings)
        with torch.no_grad():
            assert model(torch.zeros(1, 2, 2 * multiple, multiple)).shape == (1, 3, 2 * multiple, multiple)

    def test_while_it_trains_it_answers_with_every_head_it_has_and_else_with_logits(self, model_settings):
        model = create_model(model_settings, in_channels=2, out_channels=3)
        multiple, _ = input_sizes(model_settings)
        output = model(torch.zeros(2, 2, 2 * multiple, multiple))
        has_empty = bool(getattr(model_settings, "empty_head", None))
        has_sides = getattr(model_settings, "deep_supervision", False)
        assert isinstance(output, Outputs) == (has_empty or has_sides)
        outputs = output if isinstance(output, Outputs) else Outputs(output)
        assert outputs.logits.shape == (2, 3, 2 * multiple, multiple)
        assert (outputs.empty is not None) == has_empty
        assert outputs.empty is None or outputs.empty.shape == (2,)
        assert bool(outputs.sides) == has_sides
        assert all(side.shape[:2] == (2, 3) for side in outputs.sides)

    def test_every_parameter_learns(self, model_settings):
        torch.manual_seed(0)
        model = create_model(model_settings, in_channels=1, out_channels=1)
        side = 2 * input_sizes(model_settings)[0]
        output = model(torch.randn(2, 1, side, side))
        outputs = output if isinstance(output, Outputs) else Outputs(output)
        total = sum(grid.square().mean() for grid in (outputs.logits, *outputs.sides))
        (total if outputs.empty is None else total + outputs.empty.sum()).backward()
        idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not [name for name in idle if not any(part in name for part in UNUSED_BY_SMP)]

    def test_the_seed_decides_the_weights(self, model_settings):
        states = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            states.append(create_model(model_settings, in_channels=1, out_channels=1).state_dict())
        weights = [torch.cat([value.flatten().float() for value in state.values()]) for state in states]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_a_state_dict_goes_from_one_to_the_next(self, model_settings):
        first, second = (create_model(model_settings, in_channels=1, out_channels=1).eval() for _ in range(2))
        second.load_state_dict(first.state_dict())
        inputs = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            assert torch.equal(first(inputs), second(inputs))


@pytest.mark.parametrize("encoder", ["resnet18", "vgg11_bn", "tu-convnext_atto"])
def test_a_wrapped_unet_without_its_hypercolumn_answers_as_smp_s_own(encoder):
    torch.manual_seed(0)
    channels = [8, 8, 8, 4, 4]
    settings = SmpSettings(encoder=encoder, options={"decoder_channels": channels}, deep_supervision=True)
    wrapped = create_model(settings, in_channels=1, out_channels=2).eval()
    inputs = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        assert torch.equal(wrapped(inputs), wrapped.network(inputs))


def test_an_encoder_in_a_wrapped_network_is_filled_from_a_file(tmp_path):
    source = smp.encoders.get_encoder("resnet18", weights=None)
    path = tmp_path / "resnet18.pth"
    save_weights(source, path)
    settings = SmpSettings(encoder="resnet18", encoder_weights=str(path), empty_head=EmptyHeadSettings())
    model = create_model(settings, in_channels=3, out_channels=1)
    assert torch.equal(model.network.encoder.conv1.weight, source.conv1.weight)


def test_input_multiples_follow_the_depth():
    assert input_sizes(PlainUNetSettings(depth=3)) == (8, 0)
    assert input_sizes(SmpSettings()) == (32, 0)
    assert input_sizes(TernausNetSettings()) == (32, 0)
    assert input_sizes(SmpSettings(options={"encoder_depth": 4})) == (16, 0)


def save_weights(encoder, path):
    """Write an encoder's weights as a classifier's file, head included."""
    tensors = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    tensors |= {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_an_encoder_is_filled_from_a_local_file(tmp_path, suffix, in_channels):
    torch.manual_seed(0)
    source = smp.encoders.get_encoder("resnet18", weights=None)
    path = tmp_path / f"resnet18{suffix}"
    save_weights(source, path)
    settings = SmpSettings(encoder="resnet18", encoder_weights=str(path))
    model = create_model(settings, in_channels=in_channels, out_channels=1)
    assert torch.equal(model.encoder.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    wanted = source.conv1.weight if in_channels == 3 else source.conv1.weight.sum(dim=1, keepdim=True)
    assert torch.equal(first_conv(model).weight, wanted)


def test_channels_are_folded_as_smp_folds_them(tmp_path, monkeypatch):
    torch.manual_seed(0)
    source = smp.encoders.get_encoder("resnet18", weights=None)
    path = tmp_path / "model.safetensors"
    save_weights(source, path)
    monkeypatch.setattr(smp_encoders, "hf_hub_download", lambda *args, **kwargs: path)
    for in_channels in (1, 2, 5):
        from_hub, from_file = (
            create_model(
                SmpSettings(encoder="resnet18", encoder_weights=weights), in_channels=in_channels, out_channels=1
            )
            for weights in ("imagenet", str(path))
        )
        torch.testing.assert_close(first_conv(from_file).weight, first_conv(from_hub).weight)


def test_a_timm_encoder_is_filled_from_timms_own_file(tmp_path):
    torch.manual_seed(0)
    source = timm.create_model("resnet10t", pretrained=False)
    path = tmp_path / "model.safetensors"
    save_file(source.state_dict(), path)
    settings = SmpSettings(encoder="tu-resnet10t", encoder_weights=str(path))
    model = create_model(settings, in_channels=1, out_channels=1)
    assert torch.equal(model.encoder.model.layer4[0].conv2.weight, source.layer4[0].conv2.weight)
    assert torch.equal(first_conv(model).weight, source.conv1[0].weight.sum(dim=1, keepdim=True))


def test_a_timm_encoder_whose_stages_are_renamed_is_filled_all_the_same(tmp_path):
    torch.manual_seed(0)
    source = timm.create_model("convnext_atto", pretrained=False)
    path = tmp_path / "model.safetensors"
    save_file(source.state_dict(), path)
    settings = SmpSettings(encoder="tu-convnext_atto", encoder_weights=str(path), options=SHALLOW)
    model = create_model(settings, in_channels=3, out_channels=1)
    name = "stages_1.blocks.0.conv_dw.weight"
    assert name in model.encoder.model.state_dict(), "what the classifier calls stages.1…"
    assert torch.equal(model.encoder.model.state_dict()[name], source.stages[1].blocks[0].conv_dw.weight)


def test_the_file_of_another_encoder_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "resnet34.pth"
    save_weights(smp.encoders.get_encoder("resnet34", weights=None), path)
    settings = SmpSettings(encoder="resnet18", encoder_weights=str(path))
    with pytest.raises(ConfigError, match=r"resnet34\.pth do not fit model\.encoder.*\n.*unexpected: layer1\.2\."):
        create_model(settings, in_channels=3, out_channels=1)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"weights nowhere/r18\.pth: no such file"):
        create_model(SmpSettings(encoder_weights="nowhere/r18.pth"), in_channels=3, out_channels=1)


@pytest.mark.parametrize(
    ("encoder", "repository", "revision"),
    [
        ("resnet18", "smp-hub/resnet18.imagenet", "3f2325ff978283d47aa6a1d6878ca20565622683"),
        ("tu-resnet10t", "timm/resnet10t.c3_in1k", "main"),
        ("vgg11", "smp-hub/vgg11.imagenet", "ad8b90e1051c38fdbf399cf5016886a1be357390"),
    ],
)
def test_without_a_network_the_message_names_the_file_and_every_way_out(encoder, repository, revision):
    kind = TernausNetSettings if encoder == "vgg11" else SmpSettings
    with pytest.raises(ConfigError) as caught:
        create_model(kind(encoder=encoder, encoder_weights="imagenet"), in_channels=3, out_channels=1)
    message = str(caught.value)
    assert f"hf download {repository} model.safetensors --revision {revision}" in message
    assert "set model.encoder_weights to its path" in message
    assert "model.encoder_weights to null" in message
    assert "Name or service not known" in message


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t"])
@pytest.mark.parametrize("weights", ["imagenet", "nowhere/r18.pth"])
def test_prediction_touches_neither_the_hub_nor_a_file(encoder, weights):
    settings = SmpSettings(encoder=encoder, encoder_weights=weights)
    assert create_model(settings, in_channels=1, out_channels=1, load_encoder=False) is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SmpSettings(architecture="unett"), "model.architecture 'unett' is unknown; did you mean unet"),
        (SmpSettings(encoder="resnet43"), "model.encoder 'resnet43' is unknown; did you mean resnet"),
        (SmpSettings(encoder="tu-resnet10x"), "model.encoder 'tu-resnet10x' is unknown; did you mean tu-resnet"),
        (
            TernausNetSettings(encoder_weights="imagnet"),
            "model.encoder_weights 'imagnet' is unknown; did you mean imagenet",
        ),
        (SmpSettings(encoder_weights="imagnet"), "model.encoder_weights 'imagnet' is unknown; did you mean imagenet"),
        (SmpSettings(options={"aux_params": {}}), "model.options can't hold aux_params"),
        (
            SmpSettings(options={"decoder_chanels": []}),
            "model.options 'decoder_chanels' is unknown; did you mean decoder_channels",
        ),
        (SmpSettings(encoder="tu-resnet10t", options={"decoder_chanels": []}), "smp can't create a .*decoder_chanels"),
        (SmpSettings(options={"encoder_depth": 4}), "smp can't create a unet on resnet34.*Model depth is 4"),
    ],
    ids=[
        "architecture",
        "encoder",
        "timm encoder",
        "weights of ternausnet",
        "weights",
        "reserved option",
        "option",
        "timm option",
        "depth",
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(settings, message):
    with pytest.raises(ConfigError, match=message):
        create_model(settings, in_channels=1, out_channels=1)


@pytest.mark.parametrize("depth", ["4", -1, 0, 6, None, 4.5])
def test_a_depth_that_no_encoder_has_is_refused(depth):
    with pytest.raises(ConfigError, match=rf"model\.options\.encoder_depth is {depth!r}; expected a whole number"):
        SmpSettings(options={"encoder_depth": depth})
