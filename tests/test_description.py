"""Descriptions as text, and overrides from text."""

import dataclasses
import importlib
import pathlib
import pkgutil
import re

import flax.linen as nn
import jax.numpy as jnp
import pytest

from segjax import backbones, losses
from segjax.data.synthetic import Synthetic
from segjax.description import describe_lines, matches_type, replace_at, wrong_types
from segjax.errors import InputError
from segjax.experiment import (
    Experiment,
    checked,
    describe,
    override,
)
from segjax.layers.norm import BatchNorm, FrozenBatchNorm
from segjax.settings import directory_settings
from segjax.train.optimizer import SGD, Poly
from segjax.trajectory import said, trajectory
from segjax.transforms.geometric import RandomCrop, RandomFlip


class Net(nn.Module):
    num_classes: int
    rates: tuple[int, ...] = (1, 2)
    dtype: type = jnp.float32
    inner: nn.Module | None = None

    def __call__(self, image, *, train: bool):
        return image


EXPERIMENT = Experiment(
    name="e",
    model=Net(6, inner=Net(3)),
    train_data=Synthetic(),
    eval_data=Synthetic(split="val"),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.1)),
    transforms=(RandomCrop(33), RandomFlip()),
    batch_size=2,
    steps=10,
)


def line_of(experiment: Experiment, path: str) -> str:
    (found,) = [line for line in describe_lines(experiment) if line.startswith(f"{path} = ")]
    return found.removeprefix(f"{path} = ")


def test_every_described_path_can_be_set_to_its_own_text():
    for line in describe_lines(EXPERIMENT):
        path, text = line.split(" = ", 1)
        # A class with fields stands on a line of its own; its fields follow.
        if not any(other.startswith(f"{path}.") for other in describe_lines(EXPERIMENT)):
            assert list(describe_lines(override(EXPERIMENT, f"{path}={text}"))) == list(
                describe_lines(EXPERIMENT)
            )


@pytest.mark.parametrize(
    ("setting", "path", "shown"),
    [
        ("steps=200", "steps", "200"),
        ("model.rates=(1,2,5)", "model.rates", "(1, 2, 5)"),
        ("model.rates=1,2,5", "model.rates", "(1, 2, 5)"),
        ("model.rates=[1, 2, 5]", "model.rates", "(1, 2, 5)"),
        ("model.inner.num_classes=4", "model.inner.num_classes", "4"),
        ("model.dtype=jax.numpy.bfloat16", "model.dtype", "jax.numpy.bfloat16"),
        ("transforms.0.size=17", "transforms.0.size", "17"),
        ("train_data.split=val", "train_data.split", "'val'"),
        ("name=123", "name", "'123'"),
        ("init=None", "init", "None"),
        ("ema=0.99", "ema", "0.99"),
        ("optimizer.schedule.rate=1e-3", "optimizer.schedule.rate", "0.001"),
        ("normalize=segjax.experiment.CAFFE", "normalize.scale", "255.0"),
        (
            "transforms.0=segjax.transforms.geometric.RandomCrop(9)",
            "transforms.0.size",
            "9",
        ),
        (
            "init=segjax.weights.Pretrained(runs/a.safetensors)",
            "init.source",
            "'runs/a.safetensors'",
        ),
    ],
)
def test_a_setting_changes_its_field_and_leaves_the_original(setting, path, shown):
    before = describe(EXPERIMENT)
    assert line_of(override(EXPERIMENT, setting), path) == shown
    assert describe(EXPERIMENT) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stepz=3", "Experiment has no field 'stepz'; near: steps"),
        ("model.ratez=3", "Net has no field 'ratez'; near: rates"),
        ("qqqqq=1", "Experiment has no field 'qqqqq'; fields: name, "),
        ("steps", "write it as FIELD=VALUE"),
        ("steps=many", "expected int, got 'many'"),
        ("steps=1.5", "expected int, got 1.5"),
        ("steps=True", "expected int, got True"),
        ("steps=0", "steps=0 must be at least 1"),
        ("model.rates=abc", "expected tuple[int, ...], got 'abc'"),
        ("transforms.7.size=3", "'7' is not an index of 2 items, 0 to 1"),
        ("steps.more=3", "has no field 'more'"),
        ("loss=segjax.losses.softmax_cross_entropi", "near: softmax_cross_entropy"),
        ("normalize=segjax.experiment.Normalize(sdt=3)", "unexpected keyword argument 'sdt'"),
        ("ema=2.0", "ema=2.0 must lie between 0 and 1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(setting, message):
    with pytest.raises(InputError) as caught:
        override(EXPERIMENT, setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_may_be_called_like_a_module():
    data = dataclasses.make_dataclass("Data", [("directory", str | None)], frozen=True)(None)
    for folder in ("test.v2", "1,2", "a-b/c", "../shared/data"):
        assert replace_at(data, "directory", folder).directory == folder


def test_data_without_a_directory_is_said():
    with pytest.raises(InputError, match="no dataset of e has a directory"):
        directory_settings(EXPERIMENT, "/data")


def test_wrong_types_in_a_file_are_named_with_their_path():
    wrong = dataclasses.replace(EXPERIMENT, steps="10", model=Net(6, rates="abc"))  # type: ignore
    found = list(wrong_types(wrong))
    assert any(line.startswith("steps: expected int, got '10'") for line in found)
    assert any(line.startswith("model.rates: expected tuple[int, ...]") for line in found)
    with pytest.raises(InputError, match=r"file.py: steps: .*; model.rates: "):
        checked(wrong, "file.py")
    assert not list(wrong_types(EXPERIMENT))


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (1, float, True),
        (True, int, False),
        ((1, 2), tuple[int, ...], True),
        ((1, "a"), tuple[int, ...], False),
        ((1, 2), tuple[int, int, int], False),
        (None, int | None, True),
        ("a", int | None, False),
        (print, type(EXPERIMENT.loss), False),
    ],
)
def test_types_are_checked_as_annotations_say(value, hint, fits):
    assert matches_type(value, hint) is fits


def test_the_trajectory_leaves_out_where_data_lie_and_how_a_run_is_watched():
    lines = trajectory(describe(EXPERIMENT))
    assert "train_data.split" in lines and "steps" in lines and "model.rates" in lines
    for setting in ("log_every=3", "loader.threads=1", "evaluation.batch_size=9", "keep=5"):
        assert trajectory(describe(override(EXPERIMENT, setting))) == lines
    for setting in ("steps=11", "seed=1", "model.rates=3,4", "transforms=()"):
        assert trajectory(describe(override(EXPERIMENT, setting))) != lines


def test_a_run_from_before_a_field_was_there_goes_on_while_the_field_is_none():
    setting = "init=segjax.weights.Pretrained('a.pth')"
    now = describe(override(EXPERIMENT, setting))
    before = now.replace("init.key = None\n", "")
    assert before != now and trajectory(before) == trajectory(now)
    chosen = describe(override(override(EXPERIMENT, setting), "init.key=ema"))
    assert trajectory(before) != trajectory(chosen)
    assert trajectory(describe(EXPERIMENT)) != trajectory(now)


def test_a_run_from_before_backbones_had_a_norm_goes_on_while_it_is_batch_norm():
    setting = "model.inner=segjax.backbones.resnet.ResNet"
    experiment = override(EXPERIMENT, f"{setting}(stages=(1, 1, 1, 1))")
    now = describe(experiment)
    line = "model.inner.norm = segjax.layers.norm.BatchNorm\n"
    assert line in now and trajectory(now.replace(line, "")) == trajectory(now)
    frozen = override(experiment, "model.inner.norm=segjax.layers.norm.FrozenBatchNorm")
    assert "model.inner.norm = segjax.layers.norm.FrozenBatchNorm\n" in describe(frozen)
    assert trajectory(describe(frozen)) != trajectory(now)
    assert frozen.model.inner.norm is FrozenBatchNorm
    partly = "functools.partial(segjax.layers.norm.FrozenBatchNorm, epsilon=0.0)"
    assert f"norm = {partly}\n" in describe(override(frozen, f"model.inner.norm={partly}"))


class Normed(nn.Module):
    """A network of one's own with a norm, which no older version of segjax chose for it."""

    num_classes: int = 6
    norm: type = FrozenBatchNorm

    def __call__(self, image, *, train: bool):
        return image


def test_a_norm_is_left_unsaid_by_backbones_of_segjax_alone():
    line = "model.norm = segjax.layers.norm.BatchNorm"
    ours = "model = segjax.backbones.densenet.DenseNet"
    assert said(f"{ours}\n{line}") == said(ours) and trajectory(ours) == said(ours)
    for other in ("segjax.backbones_of_mine.Net", "segjax.models.unet.UNet", "mine.Net"):
        assert said(f"model = {other}\n{line}") != said(f"model = {other}")
    own = dataclasses.replace(EXPERIMENT, model=Normed(norm=BatchNorm))
    without = describe(own).replace(line + "\n", "")
    assert line in describe(own) and trajectory(without) != trajectory(describe(own))


GOLDEN = sorted((pathlib.Path(__file__).parent / "golden_experiments").glob("*.txt"))


def test_runs_of_the_experiments_from_before_their_norm_could_be_chosen_are_the_same():
    texts = [path.read_text(encoding="utf-8") for path in GOLDEN]
    line = re.compile(r".*backbone\.norm = segjax\.layers\.norm\.BatchNorm\n")
    assert sum(line.search(text) is not None for text in texts) > 20
    assert all(said(line.sub("", text)) == said(text) for text in texts)


def test_every_backbone_with_a_norm_has_batch_norm_unless_another_is_chosen():
    found = set()
    for each in pkgutil.iter_modules(backbones.__path__, f"{backbones.__name__}."):
        for value in vars(importlib.import_module(each.name)).values():
            if isinstance(value, type) and "norm" in getattr(value, "__dataclass_fields__", {}):
                assert value.__dataclass_fields__["norm"].default is BatchNorm
                found.add(value)
    assert len(found) >= 5


def test_detectors_from_before_antialiasing_could_be_chosen_are_the_same():
    sides = "transforms.1 = segjax.transforms.resize_sides.ResizeSides"
    task = "task = segjax.tasks.instance.Instance"
    for part, value in ((sides, True), (task, False)):
        field = f"{part.split(' = ')[0]}.antialias"
        assert said(f"{part}\n{field} = {value}") == said(part)
        assert said(f"{part}\n{field} = {not value}") != said(part)
    assert said(f"{task}\ntask.canvas = None") == said(task)
