"""What `explain model` says of an experiment: layers, totals, costs, fields, and bad input."""

import argparse
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.explain import model
from segjax.explain.effective_receptive_field import effective_fields, picture
from segjax.explain.trace import trace
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.ops.dispatch import plain

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"

TINY = """
from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop

experiment = Experiment(
    name="tiny",
    model=DeepLabV3(
        ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=2, output_stride=16),
        num_classes=6,
        rates=(2,),
        features=4,
        auxiliary=True,
    ),
    train_data=Synthetic(split="train", size=64),
    eval_data=Synthetic(split="val", size=64),
    transforms=(RandomCrop((33, 49)),),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Constant(0.1), momentum=0.9),
    batch_size=8,
    steps=10,
    evaluation=Evaluation(output_stride=8),
)
"""


@pytest.fixture
def tiny(tmp_path) -> str:
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return str(path)


def explained(*arguments: str) -> dict:
    parser = argparse.ArgumentParser()
    topics = parser.add_subparsers()
    model.add_parser(topics)
    topics.choices["model"].add_argument("--out", type=pathlib.Path)
    parsed = parser.parse_args(["model", *arguments])
    return parsed.run(parsed)


def test_text_and_json_say_the_same_below_110_columns(tiny):
    result = explained(tiny, "--no-compile")
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    text = model.text(result)
    assert max(map(len, text.splitlines())) < 110
    lines = text.splitlines()
    for layer in result["layers"]:
        assert any(
            line.startswith((layer["path"] or "(DeepLabV3)") + " ")
            and layer["operation"] in line
            for line in lines
        ), layer
    counted = sum(layer["parameters"] for layer in result["layers"])
    unused = sum(result["unused_parameters"].values())
    assert result["parameters"] == counted + unused
    assert f"{result['parameters']:,}, {unused:,} of them used in training only" in text
    assert f"{result['multiply_adds']:,}" in text
    assert result["logits"]["path"] == "classifier" and result["logits"]["stride"] == [16, 16]
    assert result["logits"]["image"] and "and the pooled image, stride 16" in text


def test_no_weights_are_made():
    change = "model=segjax.models.unet.UNet(num_classes=6, features=65536)"
    path = str(EXPERIMENTS / "quickstart.py")
    result = explained(path, "--no-compile", "--set", change)
    # 118 TiB of float32 could not be allocated anywhere.
    assert result["parameters"] > 3e13


@pytest.mark.parametrize(
    ("arguments", "size"),
    [((), [33, 49]), (("--size", "65"), [65, 65]), (("--size", "40x72"), [40, 72])],
)
def test_the_size_is_the_crop_or_what_is_asked_for(arguments, size, tiny):
    result = explained(tiny, "--no-compile", *arguments)
    assert result["size"] == size and result["answer"]["shape"] == [*size, 6]


def test_without_a_crop_the_size_is_that_of_drawn_images_else_513():
    assert explained(str(EXPERIMENTS / "quickstart.py"), "--no-compile")["size"] == [64, 64]
    options = ("--no-compile", "--set", "transforms=()")
    assert explained(str(EXPERIMENTS / "unet_camvid.py"), *options)["size"] == [513, 513]


@pytest.mark.slow
def test_xla_counts_what_the_layers_count(tiny):
    with plain():
        result = explained(tiny, "--set", "evaluation.output_stride=None")
    step, one = result["compiled"]["training_step"], result["compiled"]["inference"]
    height, width = result["size"]
    assert 0.9 < one["flops"] / (2 * result["multiply_adds"]) < 1.4
    # The forward pass and two products a convolution of the gradient, on a device's share.
    share = step["batch_size"] / jax.device_count()
    assert 2 < step["flops"] / share / one["flops"] < 4.5
    used = result["parameters"] - sum(result["unused_parameters"].values())
    pixels = height * width * 3
    assert one["argument_bytes"] >= 4 * used + pixels
    assert one["output_bytes"] == 4 * height * width * 6
    # Weights and momentum come in, and go out in the same place.
    assert step["argument_bytes"] >= 2 * 4 * result["parameters"] + share * pixels
    kept = step["peak_bytes"] - step["argument_bytes"] - step["temporary_bytes"]
    assert 0 <= kept < step["output_bytes"] / 10
    assert "training step, batch 8" in model.text(result)


@pytest.mark.slow
def test_the_figure_shows_backbone_and_answer(tiny, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(photo)
    path = tmp_path / "made" / "field.png"
    result = explained(tiny, "--no-compile", "--image", str(photo), "--out", str(path))
    backbone, answer = result["effective"]["fields"]
    assert [backbone["of"], answer["of"]] == ["backbone c5", "answer"]
    assert answer["image"] and not backbone["image"]
    last = [layer for layer in result["layers"] if layer["path"] == "backbone/layer4_0/conv2"]
    assert backbone["box"][2:] == last[0]["field"]
    assert answer["region"] == [0, 0, 33, 49] and np.max(answer["map"]) == 1
    model.draw(result, path)
    with Image.open(path) as figure:
        assert figure.size[0] > 600
    assert "95 % within" in model.text(result)


def test_the_effective_field_lies_in_the_theoretical_and_is_smaller():
    network = UNet(num_classes=2, depth=2, features=4, up=bilinear)
    image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 96, 96, 3)), jnp.float32)
    traced = trace(network, (96, 96))
    (field,) = effective_fields(network, image, traced, networks=1)
    top, left, height, width = field["box"]
    assert field["region"] == [top, left, height, width]
    assert field["half"] < field["most"] < height
    assert len(field["map"]) == math.ceil(height / math.ceil(height / 64)) and math.isclose(
        np.max(field["map"]), 1
    )


def test_without_an_image_shapes_are_drawn():
    assert picture(None, (20, 30), channels=3).shape == (20, 30, 3)
    assert picture(None, (20, 30), channels=1).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py"], "There is no experiment file nowhere.py"),
        (["quickstart.py", "--set", "model.depht=2"], "near: depth"),
        (["quickstart.py", "--size", "0"], "--size 0 is no size"),
        (["quickstart.py", "--size", "1x2x3"], "--size 1x2x3 is no size"),
        (["quickstart.py", "--batch", "0"], "--batch 0 must be at least 1"),
        (["quickstart.py", "--batch", "6"], "batch_size=6 is not divisible by the 4 devices"),
        (["unet_isbi.py", "--size", "100"], "Valid convolutions cannot take 100×100"),
        (["quickstart.py", "--image", "x.png"], "add --out FILE.png"),
        (["quickstart.py", "--image", "x.png", "--out", "y.png"], "x.png cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(arguments, words, capsys, monkeypatch):
    from segjax.explain.__main__ import main

    monkeypatch.chdir(EXPERIMENTS)
    assert main(["model", *arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "..." not in line]
    assert len(error) == 1 and words in error[0]
