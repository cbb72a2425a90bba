"""What `explain model` says of an experiment: layers, totals, costs, fields, and bad input."""

import argparse
import dataclasses
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.experiment import load
from segjax.explain import model
from segjax.explain.effective_receptive_field import effective_fields, picture
from segjax.explain.effective_receptive_field_figure import fields_figure
from segjax.explain.explained import Explained
from segjax.explain.figure import save
from segjax.explain.trace import trace
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.ops.dispatch import plain
from segjax.transforms.crops import BalancedCrop, ForegroundCrop
from segjax.transforms.cutout import Cutout
from segjax.transforms.geometric import MirrorPad, RandomCrop, Resize
from segjax.transforms.objects import Canvas
from segjax.transforms.on_device import DeviceFlip, DeviceScaleCrop
from segjax.transforms.scale_crop import RandomScaleCrop

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


def explained(*arguments: str) -> Explained:
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
    assert f"{result['parameters']:,}, of which {unused:,} are used in training only" in text
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


@pytest.mark.parametrize(
    ("transforms", "on_device", "size"),
    [
        ((RandomScaleCrop(40),), (), (40, 40)),
        ((BalancedCrop((40, 30)),), (), (40, 30)),
        ((ForegroundCrop(40, (1,)), Cutout(7)), (), (40, 40)),
        ((RandomCrop(60),), (DeviceScaleCrop((51, 53)), DeviceFlip()), (51, 53)),
        ((Resize(40), MirrorPad(2)), (), (44, 44)),
        ((MirrorPad(2), RandomCrop(40)), (), (40, 40)),
        ((Canvas((80, 48)),), (), (48, 80)),
        ((RandomCrop(40), Canvas(multiple=32)), (), (40, 40)),
        ((), (), (64, 64)),
    ],
    ids=str,
)
def test_the_size_is_that_after_the_last_crop(transforms, on_device, size):
    quickstart = load(EXPERIMENTS / "quickstart.py")
    changed = dataclasses.replace(
        quickstart, transforms=transforms, device_transforms=on_device
    )
    assert model.training_size(changed) == size


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
    save(result.figure(), path)
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


def field(*, box=(-22, -22, 108, 108), largest=(116, 116), most=58) -> dict:
    """A field of a network's output on an image of 64 x 64."""
    return {
        "of": "answer",
        "size": [64, 64],
        "box": box and list(box),
        "largest": list(largest),
        "image": False,
        "half": 28,
        "most": most,
        "region": [0, 0, 64, 64],
        "map": np.eye(64).tolist(),
    }


def drawn(*fields: dict):
    effective = {"image": None, "networks": 3, "fields": list(fields)}
    return fields_figure(
        {"name": "tiny", "channels": 3, "size": [64, 64], "effective": effective}
    )


def test_a_centre_that_reads_less_than_other_positions_says_how_much_these_read():
    words = [text.get_text() for text in drawn(field()).texts]
    assert "theoretical: 108 x 108, outside the picture" in words
    assert "other positions read up to 116 x 116" in words
    words = [text.get_text() for text in drawn(field(largest=(108, 108))).texts]
    assert not any("other positions" in text for text in words)
    words = [text.get_text() for text in drawn(field(box=None)).texts]
    assert "theoretical: not known" in words


@pytest.mark.parametrize("most", [58, 64, 65, 101])
def test_the_effective_square_lies_inside_the_picture_however_small_the_image(most):
    figure = drawn(field(most=most), field(most=3))
    for axes in figure.axes:
        (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert low <= -0.5 and high >= 63.5 and top <= -0.5 and bottom >= 63.5
        square = axes.patches[-1].get_bbox()
        assert low <= square.x0 and square.x1 <= high
        assert top <= square.y0 and square.y1 <= bottom


@pytest.mark.parametrize("size", [(64, 64), (512, 40), (40, 512)])
def test_no_words_of_a_figure_cover_others_or_leave_it(size):
    height, width = size
    facts = {**field(), "size": [height, width], "region": [0, 0, height, width]}
    effective = {"image": None, "networks": 3, "fields": [facts, facts]}
    figure = fields_figure(
        {"name": "tiny", "channels": 3, "size": [height, width], "effective": effective}
    )
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    for i, box in enumerate(boxes):
        assert 0 < box.x0 and box.x1 < figure.bbox.width
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_compiling_says_first_that_it_may_be_left_out(tiny, monkeypatch, capsys):
    def stop(*_, **__):
        raise ValueError("stopped")

    monkeypatch.setattr(model, "training_step", stop)
    with pytest.raises(ValueError, match="stopped"):
        explained(tiny)
    assert "may take minutes (--no-compile skips it)" in capsys.readouterr().err


def test_without_an_image_shapes_are_drawn():
    assert picture(None, (20, 30), channels=3).shape == (20, 30, 3)
    assert picture(None, (20, 30), channels=1).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py"], "There is no experiment file nowhere.py"),
        (["quickstart.py", "--set", "model.depht=2"], "near: depth"),
        (["quickstart.py", "--size", "0"], "--size 0 must be a side"),
        (["quickstart.py", "--size", "1x2x3"], "--size 1x2x3 must be a side"),
        (["quickstart.py", "--batch", "0"], "batch must be at least 1 image, got 0"),
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
