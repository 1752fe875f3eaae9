"""Configs: what is refused, and what the refusal says."""

import json

import pytest

from kaggle_unet.config import UPRIGHT_PRESETS, Config, load_config, parse_config, plain, to_yaml
from kaggle_unet.data.augment import PRESETS
from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.init import config_schema, list_changes, show_config
from kaggle_unet.types import list_keys
from tests.steps.conftest import call

DSB = "competition: {name: dsb2018}\n"


def test_every_committed_config_is_read(repository):
    paths = sorted((repository / "configs").rglob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        load_config(path)


def test_a_config_that_is_shown_is_read_as_itself(repository):
    for path in sorted((repository / "configs").rglob("*.yaml")):
        config = load_config(path)
        assert parse_config(show_config(config)) == config


CHANGED = """
competition: {name: folder, classes: {sky: 0, field: [1, 2, 3]}}
codec: {name: classes}
model: {name: smp}
inference: {scales: [1, 0.5]}
training: {swa: {from_epoch: 3}}
"""


def test_a_config_is_shown_with_the_default_behind_each_other_value(tmp_path):
    config = parse_config(CHANGED)
    changes = list_changes(config)
    assert changes == {
        "competition.masks_are": ("classes", None),
        "competition.classes": ({"sky": 0, "field": [1, 2, 3]}, None),
        "codec.name": ("classes", "interior_border_background"),
        "codec.classes": (["sky", "field"], None),
        "model.name": ("smp", "plain_unet"),
        "training.swa": ({"from_epoch": 3, "rate": None}, None),
        "inference.scales": ([1.0, 0.5], [1.0]),
    }
    shown = show_config(config)
    assert parse_config(shown) == config
    assert shown.count("# default: ") == len(changes)
    for line in ("\n  name: smp  # default: plain_unet\n", "\n  swa:  # default: null\n    from_epoch: 3\n"):
        assert line in shown
    (tmp_path / "mine.yaml").write_text(CHANGED)
    answer = call("config", "show", tmp_path / "mine.yaml")
    assert (answer.code, answer.out) == (0, shown)
    document = json.loads(call("config", "show", tmp_path / "mine.yaml", "--json").out)
    assert document["config"] == plain(config)
    assert document["changes"]["model.name"] == {"value": "smp", "default": "plain_unet"}


def test_two_configs_differ_in_the_keys_that_are_printed(tmp_path):
    for name, epochs in (("one", 3), ("other", 5)):
        (tmp_path / f"{name}.yaml").write_text(f"{DSB}training: {{epochs: {epochs}}}")
    words = ("config", "diff", tmp_path / "one.yaml")
    assert json.loads(call(*words, tmp_path / "other.yaml", "--json").out) == {
        "differences": {"training.epochs": [3, 5]}
    }
    assert call(*words, tmp_path / "other.yaml").out.splitlines()[1].split() == ["training.epochs", "3", "5"]
    assert len(call(*words, tmp_path / "one.yaml").out.splitlines()) == 1


def test_the_schema_has_every_key_with_its_meaning_and_its_bounds():
    schema = config_schema()
    assert json.loads(call("config", "schema").out) == json.loads(call("config", "schema", "--json").out) == schema
    names = {key.rpartition(".")[2] for key in list_keys(Config)}
    parts = [schema, *schema["$defs"].values()]
    assert {name for part in parts for name in part["properties"]} == names
    training = schema["$defs"]["TrainingSettings"]
    assert training["additionalProperties"] is False
    assert training["properties"]["epochs"] == {
        "default": 20,
        "description": "Passes over the fold's samples, at most.",
        "minimum": 1,
        "title": "Epochs",
        "type": "integer",
    }


def test_a_resolved_config_is_read_as_itself():
    config = parse_config(
        DSB, ["model.name=plain_unet", "model.dropout=[0.1, 0.1, 0.2, 0.2, 0.3]", "weights.distance={}"]
    )
    assert parse_config(to_yaml(config)) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {epoch: 3}", "training.epoch is not a setting; did you mean training.epochs?"),
        ("model: {name: plain_unet, fliters: 8}", "model.fliters .* of plain_unet; did you mean model.filters?"),
        ("codec: {border: {radius: 3}}", "codec.border.radius .*; did you mean codec.border.radius_px?"),
        ("trainig: {}", "trainig .*; did you mean training?"),
        ("training: {learning_rate: 1}", "did you mean training.optimizer.learning_rate?"),
        ("encoder: x", r"did you mean model.encoder \(of smp and ternausnet\)?"),
        ("model: {name: plain_unet, encoder: x}", "of plain_unet; it is one of smp and ternausnet, which model.name"),
        ("decode: {zzz: 1}", "known here: mask_threshold, seed_threshold, "),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_one_of_any_section(text, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        parse_config(DSB + text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("training: {epochs: 0}", "training.epochs"),
        ("training: {epochs: true}", "training.epochs"),
        ("training: {epochs: '3'}", "training.epochs"),
        ("training: {optimizer: {learning_rate: .nan}}", "learning_rate"),
        ("training: {optimizer: {learning_rate: .inf}}", "learning_rate"),
        ("decode: {mask_threshold: 1.5}", "mask_threshold"),
        ("model: {name: plain_unet, dropout: [0.1, 0.2]}", "2 rates"),
        ("weights: {classes: {interiour: 2}}", "interiour"),
        ("loss: {dice_planes: {mask: 1}}", "loss.dice_planes names mask"),
        ("decode: {single_object: true}", "single_object"),
        ("decode: {expected_iou: true}", "requires decode.single_object"),
        ("augmentation: {scale: [2, 1]}", "scale"),
        ("weights: {size: {lo: 3, hi: 2}}", "size weights go from lo 3 to hi 2"),
        ("model: {name: smp, options: {encoder_depth: '4'}}", "model.options.encoder_depth is '4'; expected a whole"),
        ("codec: {name: [1}", "not YAML"),
        ("model: {filters: 3}", "model.name is missing"),
        ("- 1", "not YAML"),
        ("codec: {name: classes, classes: [a, b]}", "competition.name dsb2018 is for instances"),
        ("codec: {name: mask, classes: [a, b]}", "belong to the codec classes, not to mask"),
    ],
)
def test_an_impossible_value_is_an_error_that_names_its_key(text, word):
    with pytest.raises(ConfigError, match=word.replace(".", r"\.")):
        parse_config(DSB + text)


SIGMOID = "codec: {name: mask_border}\n"
HEAD = "model: {name: plain_unet, empty_head: {}}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            SIGMOID + "loss: {cross_entropy_planes: {bordre: 2}}",
            "cross_entropy_planes names bordre; the codec's planes are mask, border",
        ),
        (
            SIGMOID + "loss: {lovasz_planes: {interior: 2}}",
            r"loss\.lovasz_planes names interior; the codec's planes are mask, border",
        ),
        (
            "loss: {cross_entropy_planes: {border: 2}}",
            r"cross_entropy_planes applies to .* softmax: .* weights\.classes",
        ),
        ("loss: {focal: 1, focal_alpha: 0.25}", r"loss\.focal_alpha applies to .* softmax"),
        ("loss: {lovasz: 1, lovasz_symmetric: true}", r"loss\.lovasz_symmetric applies to .* softmax"),
        ("loss: {cross_entropy: 0, dice: 0}", "leaves nothing to minimise; set one above 0"),
        ("loss: {dice_planes: {interior: 0, border: 0}}", r"leaves no plane for loss\.dice"),
        ("loss: {empty: 0.1}", r"loss\.empty is 0\.1, but .* set model\.empty_head .* loss\.empty to 0"),
        ("model: {name: ternausnet}\nloss: {empty: 0.1}", r"plain_unet and smp have it"),
        (HEAD, r"model\.empty_head is set, but loss\.empty is 0, .* leave model\.empty_head out"),
        ("loss: {deep_supervision: 1}", r"loss\.deep_supervision is 1, but .* set model\.deep_supervision"),
        (
            "model: {name: smp, deep_supervision: true}",
            r"model\.deep_supervision is set, but loss\.deep_supervision is 0",
        ),
        (
            "model: {name: smp, empty_head: {gate_above: 0.5}}\nloss: {empty: 1}",
            r"gate_above is 0\.5, but the planes of interior_border_background are a softmax",
        ),
        ("augmentation: {crop_finds_objects: 0.5}", r"crop_finds_objects is 0\.5, .* set augmentation\.crop_px"),
    ],
)
def test_sections_that_contradict_each_other_are_refused_with_what_to_do(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_config(DSB + text)


@pytest.mark.parametrize(
    "text",
    [
        SIGMOID + "loss: {cross_entropy_planes: {border: 10}, lovasz: 1, lovasz_planes: {mask: 2}}",
        SIGMOID + "loss: {focal: 1, focal_alpha: 0.25, lovasz: 1, lovasz_symmetric: true}",
        "loss: {lovasz: 1, lovasz_planes: {background: 1}}",
        HEAD + "loss: {empty: 0.1}",
        SIGMOID + "model: {name: smp, empty_head: {gate_above: 0.5}, deep_supervision: true}\n"
        "loss: {empty: 0.1, deep_supervision: 0.1}",
        "model: {name: smp, empty_head: null}",
        "augmentation: {crop_finds_objects: 0.5, crop_px: 64}",
    ],
)
def test_sections_that_agree_are_taken(text):
    parse_config(DSB + text)


@pytest.mark.parametrize("preset", PRESETS)
def test_tiles_with_an_up_and_a_down_are_not_turned(preset):
    text = "competition: {name: tgs}\ncodec: {name: mask}\ndecode: {single_object: true}\n"
    text += f"augmentation: {{preset: {preset}, crop_px: 64}}"
    turns = PRESETS[preset].turns or PRESETS[preset].max_degrees > 0
    assert turns == (preset not in UPRIGHT_PRESETS)
    if turns:
        with pytest.raises(ConfigError, match=rf"preset {preset} rotates images.* use none, salt, salt_first_place"):
            parse_config(text)
    else:
        parse_config(text)


@pytest.mark.parametrize("name", ["plain_unet", "smp", "ternausnet"])
def test_a_fault_of_any_network_is_named_as_it_is_written(name):
    with pytest.raises(ConfigError, match=r"^config: model\.fliters is not a setting"):
        parse_config(DSB + f"model: {{name: {name}, fliters: 8}}")


@pytest.mark.parametrize(
    ("model", "says"), [("{filters: 3}", r"model\.name is missing"), ("{name: unet}", r"model\.name is 'unet'")]
)
def test_a_network_must_be_named(model, says):
    with pytest.raises(ConfigError, match=says + "; use plain_unet, smp, ternausnet or python:module:factory$"):
        parse_config(DSB + f"model: {model}")


def test_a_key_given_twice_is_an_error():
    with pytest.raises(ConfigError, match="'training' is given twice"):
        parse_config(DSB + "training: {epochs: 3}\ntraining: {batch: 2}")


def test_a_config_without_competition_is_an_error():
    with pytest.raises(ConfigError, match="competition is missing"):
        parse_config("training: {epochs: 3}")


def test_a_yaml_tag_that_would_run_code_is_refused():
    with pytest.raises(ConfigError, match="not YAML"):
        parse_config(DSB + "x: !!python/object/apply:os.system ['true']")


def test_a_tgs_config_must_decode_one_object_and_flip_horizontally():
    tgs = "competition: {name: tgs}\ncodec: {name: mask}\n"
    with pytest.raises(ConfigError, match="single_object"):
        parse_config(tgs)
    with pytest.raises(ConfigError, match="fixed orientation"):
        parse_config(tgs + "decode: {single_object: true}\ninference: {flips: d4}")


def test_scientific_notation_is_a_number_and_yes_is_a_word():
    config = parse_config(DSB + "training: {optimizer: {learning_rate: 1e-3}}\nfolds: {stratify: none}")
    assert config.training.optimizer.learning_rate == 0.001
    with pytest.raises(ConfigError, match="'no'"):
        parse_config(DSB + "input: {invert_bright: no}")


def test_overrides_win_in_order_and_reach_any_depth():
    config = parse_config(DSB, ["training.epochs=3", "training.epochs=4", "training.optimizer.name=sgd"])
    assert (config.training.epochs, config.training.optimizer.name) == (4, "sgd")


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training..epochs=3", "competition.name.x=1"])
def test_a_malformed_override_is_an_error(override):
    with pytest.raises(ConfigError, match="--set"):
        parse_config(DSB, [override])


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_plain_values_survive_json():
    tree = plain(parse_config(DSB))
    assert json.loads(json.dumps(tree)) == tree


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["model.padding=valid", "augmentation.crop_px=64", "inference.scales=[0.5, 1]"],
            "inference.scales is (0.5, 1.0)",
        ),
        (["model.padding=valid", "augmentation.crop_px=64", "inference.object_px=20"], "inference.object_px is 20"),
        (["codec.name=mask", "decode.single_object=true", "inference.object_px=20"], "the size of a single object"),
    ],
)
def test_what_an_image_cannot_be_shown_at_is_refused_when_the_config_is_read(overrides, words):
    with pytest.raises(ConfigError) as caught:
        parse_config(DSB, ["model.name=plain_unet", *overrides])
    assert words in str(caught.value) or any(words in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: &a {epochs: 3}\ninference: *a", r"\*a is an alias \(line 3\); write its value out"),
        ("a: &a [x, x]\nb: &b [*a, *a]", r"\*a is an alias"),
        (f"training: {{seed: {'9' * 5000}}}", "not YAML"),
        ("training: {seed: 0b_}", "not YAML|seed"),
        ("training: {seed: 2001-01-01}", "seed|date"),
        ("training: {seed: 2001-99-99}", "not YAML|seed"),
        (f"training: {'[' * 3000}", "not YAML"),
        (f"training: {'[' * 3000}{']' * 3000}", "not YAML"),
    ],
    ids=["alias", "nested alias", "5,000 digits", "0b_", "date", "no date", "open brackets", "brackets"],
)
def test_yaml_that_nobody_means_is_refused_at_once(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_config(f"competition: {{name: folder}}\n{text}")


LAND = "competition: {name: folder, classes: {soil: 0, water: [0, 0, 255], ice: 2}}\ncodec: {name: classes}\n"


def test_the_names_of_classes_come_from_their_table_and_stay_with_the_codec():
    config = parse_config(LAND)
    assert config.codec.classes == ("soil", "water", "ice") == config.decoder.codec.planes
    assert config.competition.masks_are == "classes"
    assert parse_config(to_yaml(config)) == config == parse_config(LAND.replace("classes}", "classes, classes: null}"))
    assert parse_config("competition: {name: folder}\ncodec: {name: classes, classes: [a, b]}").codec.classes == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("codec.classes=[water, soil, ice]", "competition.classes names soil, water, ice"),
        ("competition.classes={soil: 0, water: 1, ice: 1}", "gives two classes the same number or colour"),
        ("competition.classes={soil: 0}", "needs the names of 2 to 254 different classes"),
        ("competition.masks_are=labels", "competition.masks_are labels is for instances"),
        ("weights.size={}", "weights.size is for instances"),
        ("weights.classes={lava: 2}", "weights.classes names lava"),
        ("weights.classes={soil: 0, water: 0, ice: 0}", "weights.classes is 0 for all of soil, water, ice"),
        ("augmentation.preset=first_place", r"copies nuclei\) is for instances"),
        ("inference.object_px=20", "inference.object_px is for instances"),
        ("postprocess.min_area_px=9", "postprocess is for instances"),
        ("decode.mask_threshold=0.4", "decode is for instances"),
    ],
)
def test_what_is_made_for_instances_is_refused_for_classes(override, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(LAND, [override])
