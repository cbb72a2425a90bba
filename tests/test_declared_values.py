"""What a part of an experiment says of itself has the type that is read, or is named."""

import dataclasses
import functools
import pathlib
from typing import Any

import flax.linen as nn
import numpy as np
import pytest

from segjax import experiment as experiments
from segjax.conformity import (
    check_classifiers,
    check_dataset,
    check_model,
    check_values,
    declares,
    has_planes,
    labelled,
    missing,
)
from segjax.contracts import Dataset, LabelledDataset, Mapped, Model, Planed
from segjax.data.folder import Folder
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.models.deeplab import DeepLabV1
from segjax.models.unet import UNet
from segjax.train.plan import make_plan

TINY = pathlib.Path(__file__).parent / "commands" / "tiny.py"


class Net(nn.Module):
    """A model with parts of its own, which it reads as it likes."""

    num_classes: Any = 6
    network: Any = None
    backbone: Any = None

    @nn.compact
    def __call__(self, image, *, train: bool):
        return nn.Conv(self.num_classes, (1, 1), name="classifier")(image)


class WithoutTrain(nn.Module):
    num_classes: int = 6

    @nn.compact
    def __call__(self, image):
        return nn.Conv(self.num_classes, (1, 1))(image)


class Apart(Net):
    label_stride: Any = 4


class OwnDeepLab(DeepLabV1):
    """It reads of its backbone what segjax's does."""


class Delegating:
    """The first examples of another dataset, which says all else."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.data[index]

    def __getattr__(self, name):
        return getattr(self.data, name)


class Lengthless:
    """It passes on what Python looks for in the class alone."""

    def __init__(self, data):
        self.data = data

    def __getattr__(self, name):
        return getattr(self.data, name)


class Says:
    """A dataset that says what it is told to."""

    channels: Any = 3
    class_names: Any = ("ground", "road")
    palette: Any = np.zeros((256, 3), np.uint8)

    def __init__(self, **values):
        self.__dict__.update(values)

    def prepare(self):
        pass

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {}


def planed(**options):
    return Folder(class_names=("disc", "cup"), masks=("disc", "cup"), **options)


def test_a_dataset_that_passes_on_anothers_members_has_them():
    for data in (Synthetic(), planed()):
        wrapped = Delegating(data)
        check_dataset(wrapped, field="train_data")
        assert labelled(wrapped) is wrapped and not missing(wrapped, LabelledDataset)
        assert has_planes(wrapped) == has_planes(data)
        assert declares(wrapped, Mapped) == declares(data, Mapped)
    assert has_planes(Delegating(planed())) and declares(Delegating(planed()), Mapped)


def test_but_not_those_that_python_looks_for_in_the_class():
    assert missing(Lengthless(Synthetic()), Dataset) == ["__len__", "__getitem__"]


def test_a_property_that_fails_behind_a_wrapper_is_there():
    class Unread(Says):
        @property
        def has_planes(self):
            raise OSError("Its files would have to be read.")

    assert declares(Delegating(Unread()), Planed)
    assert not declares(Delegating(Says()), Planed)


def test_an_experiment_is_trained_on_a_wrapped_dataset(capsys):
    tiny = experiments.load(TINY)
    plan = make_plan(dataclasses.replace(tiny, train_data=Delegating(tiny.train_data)))
    assert plan.channels == 3


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (Synthetic, r"Synthetic is a class; write Synthetic\(...\)"),
        (
            functools.partial(Synthetic),
            r"partial\(Synthetic, ...\) is not called; write Synthe",
        ),
    ],
)
def test_a_dataset_that_was_not_made_is_refused_with_what_to_write(given, line):
    for check in (check_dataset, labelled):
        with pytest.raises(InputError, match=f"^train_data: {line}"):
            check(given, field="train_data")
    assert not has_planes(given)
    own = dataclasses.replace(experiments.load(TINY), train_data=given)
    with pytest.raises(InputError, match=f"here: train_data: {line}"):
        experiments.checked(own, "here")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (UNet, r"UNet is a class; write UNet\(...\)"),
        (functools.partial(UNet, 3), r"partial\(UNet, ...\) is not called; write UNet\(...\)"),
    ],
)
def test_so_is_a_model(given, line):
    with pytest.raises(InputError, match=f"^model: {line}"):
        check_model(given)
    assert missing(given, Model)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("channels", None, "channels=None must be a whole number, such as 3; correct it in "),
        ("channels", "3", "channels='3' must be a whole number"),
        ("channels", 0, "channels=0 must be a whole number"),
        ("channels", True, "channels=True must be a whole number"),
        ("class_names", None, "class_names=None must be a tuple of names"),
        ("class_names", "ab", "class_names='ab' must be a tuple of names"),
        ("class_names", (1, 2), r"class_names=\(1, 2\) must be a tuple of names"),
        ("palette", [[0, 0, 0]], r"palette=\[\[0, 0, 0\]\] must be a 256 × 3 array of uint8"),
        ("palette", np.zeros((256, 3)), r"palette=\(ndarray\) must be a 256 × 3 array"),
    ],
)
def test_what_a_dataset_says_has_the_type_that_is_read(name, value, line):
    check_values(Says(), field="eval_data")
    with pytest.raises(InputError, match=f"^eval_data.{line}"):
        check_values(Says(**{name: value}), field="eval_data")
    tiny = experiments.load(TINY)
    with pytest.raises(InputError, match=f"^train_data.{line}"):
        make_plan(dataclasses.replace(tiny, train_data=Says(**{name: value})))


def test_what_files_are_needed_for_is_not_looked_at_before_they_are_there():
    class Unread(Says):
        @property
        def class_names(self):
            raise OSError("Its files would have to be read.")

    check_values(Unread(), field="eval_data")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (Net(num_classes=None), "model.num_classes=None must be a whole number, at least 1"),
        (Net(num_classes="6"), "model.num_classes='6' must be"),
        (Net(num_classes=0), "model.num_classes=0 must be"),
        (Apart(label_stride="4"), "model.label_stride='4' must be a whole number, at least 1"),
        (Apart(label_stride=0), "model.label_stride=0 must be"),
        (WithoutTrain(), "model: WithoutTrain cannot be called with train; write def __call__"),
    ],
)
def test_so_has_what_a_model_says(model, line):
    check_model(Net())
    check_model(Apart())
    with pytest.raises(InputError, match=f"^{line}"):
        check_model(model)


@pytest.mark.parametrize("field", ["train_data", "eval_data"])
def test_channels_that_the_first_image_does_not_have_are_refused(field):
    class Grey(Delegating):
        channels = 1

    tiny = experiments.load(TINY)
    changed = {field: Grey(getattr(tiny, field))}
    with pytest.raises(
        InputError, match=f"^{field}.channels=1, but its first image has 3; set"
    ):
        make_plan(dataclasses.replace(tiny, **changed))


def test_parts_of_a_model_of_ones_own_may_be_what_they_like():
    check_model(Net(network=WithoutTrain(), backbone="resnet18"))
    with pytest.raises(InputError, match="^model.backbone: WithoutTrain has no output_stride"):
        check_model(OwnDeepLab(WithoutTrain(), 3))


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("classifier", "Net_.classifiers is 'classifier'; write a tuple of paths of layers"),
        (lambda self: ("classifier",), "Net_.classifiers is a method; write a tuple"),
        (("classifier", 3), r"Net_.classifiers is \('classifier', 3\); write a tuple"),
        (
            ("clasifier",),
            "Net_.classifiers names 'clasifier', which is not one of its layers: cla",
        ),
        (("params/classifier",), "names 'params/classifier', which is not one of its layers"),
    ],
)
def test_classifiers_are_a_tuple_of_paths_of_layers(named, line):
    paths = ("params/classifier/kernel", "params/classifier/bias", "params/stem/kernel")
    make = lambda value: type("Net_", (), {"classifiers": value})()
    for right in ((), ("classifier",), ("classifier/bias", "stem")):
        check_classifiers(make(right), paths)
    with pytest.raises(InputError, match=f"^model: .*{line}"):
        check_classifiers(make(named), paths)
