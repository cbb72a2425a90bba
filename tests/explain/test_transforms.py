import dataclasses
import json
import pathlib

import numpy as np
import pytest

from segjax.data.synthetic import Synthetic
from segjax.drawing.overlay import UNCOUNTED, as_rgb
from segjax.errors import InputError
from segjax.experiment import load
from segjax.explain import __main__ as command
from segjax.explain.transforms import explain_transforms
from segjax.explain.transforms_figure import labelled
from segjax.transforms.color import ColorJitter
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.transforms.kinds import Nearest
from segjax.transforms.mix import Mosaic
from segjax.transforms.on_device import DeviceFlip, DeviceScaleCrop
from segjax.transforms.rand_augment import RandAugment, rotate

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
QUICKSTART = load(EXPERIMENTS / "quickstart.py")
SMALL = dataclasses.replace(
    QUICKSTART,
    train_data=Synthetic(size=24, count=5),
    transforms=(RandomFlip(1.0), ColorJitter(), RandomCrop((40, 30)), Mosaic(probability=1.0)),
)


def unchanged(example, rng):
    return example


FUNCTIONS = dataclasses.replace(
    SMALL, transforms=(RandAugment(operations=(rotate,)), unchanged)
)


@pytest.fixture(scope="module")
def found():
    return explain_transforms(SMALL, index=3, draws=2)


def test_each_step_tells_size_classes_ignored_pixels_and_whether_it_changed_anything(found):
    names = [step["transform"] for step in found["steps"]]
    assert names == [None, *map(repr, SMALL.transforms)]
    assert [step["changed"] for step in found["steps"]] == [0, 2, 0, 2, 2]
    sizes = [step["draws"][0]["size"] for step in found["steps"]]
    assert sizes == [[24, 24], [24, 24], [24, 24], [40, 30], [40, 30]]
    crop = found["steps"][3]["draws"][0]
    assert crop["ignored"] == round(1 - 24 * 24 / (40 * 30), 4)
    label = SMALL.train_data[3]["label"]
    assert crop["classes"] == np.unique(label).tolist()
    assert found["example"] == "train_0000003" and found["examples"] == 5


def test_the_text_has_a_paragraph_a_step_and_the_json_all_of_it(found):
    text = str(found)
    first = "quickstart: example 3 of 5, train_0000003, 2 draws with seed 0"
    assert text.splitlines()[0] == first
    assert "\n1  RandomFlip(probability=1.0)\n   size 24x24, 3 x uint8, ignored 0.0%\n" in text
    assert "\n   changed 0 of 2, " in text and "classes: background, " in text
    assert json.loads(json.dumps(found)) == found


def test_the_figure_has_an_image_and_a_label_for_each_step_and_draw_and_a_legend(found):
    figure = found.figure()
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 2 * (1 + 4 * 2)
    present = {i for step in found["steps"] for draw in step["draws"] for i in draw["classes"]}
    words = {text.get_text() for text in figure.texts}
    assert {SMALL.train_data.class_names[i] for i in present} | {"ignored"} <= words
    assert {"1  RandomFlip", "4  Mosaic", "24 x 24", "40 x 30"} <= words
    assert len(figure.axes) - len(pictures) == len(present) + 1


ON_DEVICE = dataclasses.replace(
    SMALL,
    transforms=(RandomFlip(1.0), RandAugment(operations=(rotate,))),
    device_transforms=(DeviceFlip(1.0), DeviceScaleCrop((16, 12))),
)


def test_device_transforms_are_the_last_steps_and_have_no_cpu_time():
    found = explain_transforms(ON_DEVICE, draws=2)
    flipped, cropped = found["steps"][3:]
    assert flipped["transform"] == "DeviceFlip(probability=1.0)" and flipped["changed"] == 2
    assert cropped["transform"].startswith("DeviceScaleCrop(size=(16, 12), ")
    assert [draw["size"] for draw in cropped["draws"]] == [[16, 12]] * 2
    assert cropped["draws"][0] != cropped["draws"][1]
    assert [step["milliseconds"] is None for step in found["steps"]] == [False] * 3 + [True] * 2
    assert "size 16x12, 3 x uint8" in str(found)
    assert "changed 2 of 2, on the devices" in str(found)
    words = {text.get_text() for text in found.figure().texts}
    assert {"4  DeviceScaleCrop", "changed 2 of 2, on the devices", "16 x 12"} <= words


def test_an_example_that_the_training_step_refuses_is_refused_here():
    ids = Declare("ids", Nearest())
    with_ids = lambda example, rng: ids({**example, "ids": example["label"]}, rng)
    experiment = dataclasses.replace(ON_DEVICE, transforms=())
    object.__setattr__(experiment, "transforms", (with_ids,))
    with pytest.raises(InputError, match="the batch has 'ids'"):
        explain_transforms(experiment, draws=1)


def test_functions_are_shown_by_their_dotted_names_as_describe_shows_them():
    names = [step["transform"] for step in explain_transforms(FUNCTIONS, draws=1)["steps"]]
    rotated = "operations=(segjax.transforms.rand_augment.rotate,), fill=(124, 116, 104))"
    assert names[1] == f"RandAugment(count=2, magnitude=9.0, {rotated}"
    assert names[2].endswith(".unchanged") and " at 0x" not in "".join(names[1:])


def test_ignored_pixels_are_grey_and_the_others_tinted():
    example = dict(SMALL.train_data[0])
    example["label"] = example["label"].copy()
    example["label"][:5] = 255
    drawn = labelled(example, SMALL.train_data)
    assert (drawn[:5] == UNCOUNTED).all()
    same = (drawn == example["image"]).all(-1)
    background = example["label"] == 0
    assert same[background].all() and not same[(example["label"] > 0) & ~background].all()


def test_planes_and_unknown_classes_are_drawn_too():
    example = dict(SMALL.train_data[0])
    planes = (example["label"][..., None] == np.arange(1, 4)).astype(np.uint8)
    planes[:4] = 255
    drawn = labelled({**example, "label": planes}, SMALL.train_data)
    assert (drawn[:4] == UNCOUNTED).all() and not np.array_equal(
        drawn[4:], example["image"][4:]
    )
    np.testing.assert_array_equal(labelled(example, object()), as_rgb(example["image"]))


def test_the_same_seed_gives_the_same_draws_and_each_draw_others(found):
    again = explain_transforms(SMALL, index=3, draws=2)
    other = explain_transforms(SMALL, index=3, draws=2, seed=9)
    draws = lambda result: [step["draws"] for step in result["steps"]]
    assert draws(again) == draws(found) != draws(other)
    assert found["steps"][4]["draws"][0] != found["steps"][4]["draws"][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index": 5}, "index must be from 0 to 4, got 5."),
        ({"index": -1}, "index must be from 0 to 4, got -1."),
        ({"index": 0.5}, "index must be a whole number, got 0.5."),
        ({"draws": 0}, "draws must be from 1 to 8, got 0."),
        ({"seed": -1}, "seed must be at least 0, got -1."),
    ],
    ids=str,
)
def test_an_argument_that_cannot_work_is_named(options, words):
    with pytest.raises(InputError, match=f"^{words}$"):
        explain_transforms(SMALL, **options)


def run(capsys, *arguments):
    capsys.readouterr()
    status = command.main(["transforms", *arguments])
    return status, *capsys.readouterr()


def test_the_command_draws_and_takes_settings(capsys, tmp_path):
    out = tmp_path / "a.png"
    quickstart = str(EXPERIMENTS / "quickstart.py")
    given = ("--set", "train_data.size=32", "--index", "2", "--draws", "1", "--out", str(out))
    status, output, errors = run(capsys, quickstart, *given)
    assert (status, errors) == (0, "") and out.read_bytes().startswith(b"\x89PNG")
    assert "train_0000002, 1 draw with seed 0" in output and "32x32" in output


def test_wrong_data_and_options_are_one_line(capsys, tmp_path):
    camvid, quickstart = (
        str(EXPERIMENTS / f"{name}.py") for name in ("deeplab_camvid", "quickstart")
    )
    for given, words in (
        ([camvid, "--data", str(tmp_path / "none")], "none"),
        ([quickstart, "--data", "x"], "error: --data x: no dataset of quickstart has a dir"),
        ([quickstart, "--index", "-3"], "error: --index must be from 0 to"),
        ([quickstart, "--set", "transforms.9=1"], "'9' is not an index"),
    ):
        status, output, errors = run(capsys, *given)
        assert (status, output) == (2, "") and words in errors and errors.count("\n") == 1
