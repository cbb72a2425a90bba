"""What a part of an experiment lacks is named before work starts, with what to write."""

import dataclasses
import pathlib
from typing import Any

import flax.linen as nn
import pytest
from flax.errors import DescriptorAttributeError

from segjax import experiment as experiments
from segjax.backbones.resnet import ResNet18
from segjax.conformity import (
    canvas,
    check_dataset,
    check_grid,
    check_model,
    classifiers,
    label_stride,
    labelled,
    missing,
    num_classes,
)
from segjax.contracts import Dataset, LabelledDataset
from segjax.data.ade20k import ADE20K
from segjax.data.camvid import CamVid
from segjax.data.cityscapes import Cityscapes
from segjax.data.folder import Folder
from segjax.data.isbi import ISBI2012
from segjax.data.synthetic import Synthetic
from segjax.data.voc import VOC
from segjax.errors import InputError
from segjax.models.deeplab import DeepLabV1
from segjax.models.unet import UNet
from segjax.train.plan import make_plan

TINY = pathlib.Path(__file__).parent / "commands" / "tiny.py"


class Plain(nn.Module):
    """The least that a model can be: logits of every `step`-th pixel."""

    num_classes: int = 6
    step: int = 1

    @nn.compact
    def __call__(self, image, *, train: bool):
        scores = nn.Conv(self.num_classes, (1, 1), name="head")(image)
        return scores[:, :: self.step, :: self.step]


class Strided(Plain):
    label_stride: int = 4


class Nameless(nn.Module):
    """A model, or a backbone, with no field at all."""

    @nn.compact
    def __call__(self, image, *, train: bool):
        return nn.Conv(6, (1, 1), name="head")(image)


@dataclasses.dataclass(frozen=True)
class Own:
    """A dataset of one's own that says what everything is but its channels."""

    class_names: tuple[str, ...]
    palette: Any = None

    def prepare(self):
        raise AssertionError("It is asked for what it is, not for its files.")

    def __len__(self):
        raise AssertionError("It is asked for what it is, not for its files.")

    def __getitem__(self, index):
        raise AssertionError("It is asked for what it is, not for its files.")


class Grey(Own):
    @property
    def channels(self):
        raise OSError("Its files would have to be read.")


def test_a_model_that_says_nothing_more_answers_every_pixel_and_names_no_classifier():
    model = Plain()
    assert (label_stride(model), canvas(model, 5, 7), classifiers(model)) == (1, (5, 7), ())
    assert (num_classes(model), num_classes(ResNet18())) == (6, None)


def test_what_a_model_declares_is_what_is_read_of_it():
    deeplab = DeepLabV1(ResNet18(output_stride=16), 3)
    assert (label_stride(deeplab), classifiers(deeplab)) == (16, ("fc8",))
    assert canvas(UNet(num_classes=2, valid=True), 388, 300) == (572, 492)


def test_a_broken_property_is_an_error_and_not_the_default():
    with pytest.raises(DescriptorAttributeError):
        label_stride(DeepLabV1(Nameless(), 3))


def test_a_model_without_its_number_of_classes_is_refused_with_what_to_write():
    with pytest.raises(InputError) as error:
        check_model(Nameless())
    assert str(error.value) == (
        "model: Nameless has no num_classes; write its number of classes, as a field "
        "num_classes: int."
    )


def test_a_backbone_is_refused_by_what_heads_read_of_it():
    check_model(DeepLabV1(ResNet18(), 3))
    with pytest.raises(InputError, match=r"model\.backbone: Nameless has no output_stride, dt"):
        check_model(DeepLabV1(Nameless(), 3))


def test_a_dataset_without_channels_is_refused_with_what_to_write_and_no_file_is_read():
    check_dataset(Grey(("a", "b")), field="eval_data")
    with pytest.raises(InputError) as error:
        check_dataset(Own(("a", "b")), field="eval_data")
    assert str(error.value) == (
        "eval_data: Own has no channels; write channels = 3 where its images are RGB, "
        "channels = 1 where they are grey."
    )


def test_classes_and_colours_are_asked_for_only_where_labels_are_classes():
    class Depths:
        channels = 3
        prepare = __len__ = __getitem__ = lambda self, *_: None

    check_dataset(Depths(), field="eval_data")
    with pytest.raises(InputError, match=r"eval_data: Depths has no class_names, palette; wri"):
        labelled(Depths())
    data = Synthetic()
    assert labelled(data) is data


@pytest.mark.parametrize(
    "data, channels",
    [
        (Synthetic(), 3),
        (VOC(), 3),
        (CamVid(), 3),
        (Cityscapes(), 3),
        (ADE20K(), 3),
        (ISBI2012(), 1),
        (Folder(class_names=("a", "b")), 3),
        (Folder(class_names=("a", "b"), channels=1), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_dataset_says_its_channels(data, channels):
    assert not missing(data, Dataset) and not missing(data, LabelledDataset)
    assert data.channels == channels


@pytest.mark.parametrize(
    "model, size, grid",
    [
        (Plain(), (9, 7), (9, 7)),
        (Strided(), (9, 7), (3, 2)),
        (UNet(num_classes=2, valid=True, depth=2), (44, 60), (4, 20)),
        (UNet(num_classes=2, depth=2), (9, 7), (9, 7)),
    ],
    ids=["plain", "strided", "valid", "padded"],
)
def test_logits_may_lie_where_the_model_says(model, size, grid):
    check_grid(model, size, grid)
    with pytest.raises(InputError, match=f"returns 1×2 scores for {size[0]}×{size[1]} pixels"):
        check_grid(model, size, (1, 2))


def test_a_plan_refuses_scores_that_lie_apart_unless_the_model_says_so():
    tiny = experiments.load(TINY)
    plan = lambda model: make_plan(dataclasses.replace(tiny, model=model), note=print)
    plan(Plain())
    plan(Strided(step=4))
    with pytest.raises(
        InputError, match=r"label_stride=1 means .* give the model label_stride"
    ):
        plan(Plain(step=4))
    with pytest.raises(InputError, match="model: Nameless has no num_classes"):
        plan(Nameless())


def test_an_experiment_file_with_such_a_dataset_says_it_in_its_one_line():
    tiny = experiments.load(TINY)
    own = dataclasses.replace(tiny, eval_data=Own(tiny.eval_data.class_names))
    with pytest.raises(InputError, match=r"^here: eval_data: Own has no channels; write chan"):
        experiments.checked(own, "here")
    with pytest.raises(InputError, match=r"eval_data: expected Dataset, got 3\.$"):
        experiments.checked(dataclasses.replace(tiny, eval_data=3), "here")
