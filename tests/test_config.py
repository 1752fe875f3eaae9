"""Configs: what is refused, and what the refusal says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.config import fingerprint, load_config, parse_config, plain, to_yaml
from kaggle_unet.errors import ConfigError

DSB = "competition: {name: dsb2018}\n"


def test_every_committed_config_is_read(repository):
    paths = sorted((repository / "configs").rglob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        load_config(path)


def test_a_resolved_config_is_read_as_itself():
    config = parse_config(
        DSB, ["model.name=plain_unet", "model.dropout=[0.1, 0.1, 0.2, 0.2, 0.3]", "weights.distance={}"]
    )
    assert parse_config(to_yaml(config)) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {epoch: 3}", ("training.epoch", "epochs")),
        ("model: {name: plain_unet, fliters: 8}", ("model.fliters", "filters")),
        ("codec: {border: {radius: 3}}", ("codec.border.radius", "radius_px")),
        ("trainig: {}", ("trainig", "training")),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_one(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_config(DSB + text)
    assert all(word in str(caught.value) for word in words)


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
        ("loss: {dice_planes: {mask: 1}}", "loss.dice_planes.mask"),
        ("decode: {single_object: true}", "single_object"),
        ("augmentation: {scale: [2, 1]}", "scale"),
        ("codec: {name: [1}", "not YAML"),
        ("model: {filters: 3}", "model.name is missing"),
        ("- 1", "not YAML"),
    ],
)
def test_an_impossible_value_is_an_error_that_names_its_key(text, word):
    with pytest.raises(ConfigError, match=word.replace(".", r"\.")):
        parse_config(DSB + text)


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
    with pytest.raises(ConfigError, match="up and a down"):
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


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(tree):
    assert fingerprint(tree) == fingerprint(dict(reversed(tree.items())))
    assert fingerprint(tree) != fingerprint({**tree, "new key": 1})


def test_plain_values_survive_json():
    tree = plain(parse_config(DSB))
    assert json.loads(json.dumps(tree)) == tree
