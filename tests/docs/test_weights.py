"""The guide to published weights names networks that the files of torchvision and timm fill."""

import pathlib
import re
import runpy

import numpy as np
import pytest

from segjax import weights
from segjax.backbones import densenet, mobilenet_v3, resnet, vgg, xception
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN
from segjax.models.lraspp import LRASPP
from segjax.ops.dispatch import plain
from segjax.pretrained.layouts import FAMILIES, translate

TESTS = pathlib.Path(__file__).parents[1]
GUIDE = (TESTS.parent / "docs" / "guides" / "weights.md").read_text(encoding="utf-8")
BACKBONES = {
    name: value
    for module in (densenet, mobilenet_v3, resnet, vgg, xception)
    for name, value in vars(module).items()
}
NAMES = {"DeepLabV3": DeepLabV3, "FCN": FCN, "LRASPP": LRASPP} | BACKBONES
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GUIDE.splitlines()
    if line.startswith("| ")
]
NETWORKS = {row[0].strip("`"): row[1].strip("`") for row in ROWS if len(row) == 2}
FILES = runpy.run_path(str(TESTS / "weights" / "state_dicts.py"))["names"]


def deeper(shapes: dict) -> dict:
    """The tensors of a ResNet-101, which repeats a unit of the third stage of a ResNet-50."""
    last = {n: s for n, s in shapes.items() if "layer3.5." in n}
    more = {
        n.replace("layer3.5.", f"layer3.{i}."): s for n, s in last.items() for i in range(6, 23)
    }
    return shapes | more


@pytest.mark.slow_but("lraspp_mobilenet_v3_large")
@pytest.mark.parametrize("file", [name for name in NETWORKS if name != "file"])
def test_a_file_of_torchvision_fills_the_network_that_the_guide_names(file):
    model = eval(NETWORKS[file], NAMES)
    shapes = FILES(file.replace("101", "50"))
    shapes = deeper(shapes) if "101" in file else shapes
    with plain():  # Traces faster.
        wanted = weights.flat_shapes(weights.variable_shapes(model))
    arrays = {n: np.broadcast_to(np.float32(0), shape) for n, shape in shapes.items()}
    found = translate(arrays, wanted)
    assert {n: a.shape for n, a in found.arrays.items()} == wanted and not found.unknown


def test_the_guide_lists_every_family_of_backbones_and_backbones_that_are_there():
    families = [row for row in ROWS if len(row) == 4 and row[0] != "family"]
    known = {family.name.split()[-1] for family in FAMILIES}
    assert {row[0] for row in families} == known
    for *_, example, backbones in families:
        assert re.fullmatch(r"`timm/[\w.]+`", example)
        for name in re.findall(r"`([A-Z]\w+)`", backbones):
            assert callable(BACKBONES[name]), name


def test_the_guide_lists_every_whole_network_whose_tensors_the_tests_know():
    known = {"deeplabv3_resnet50", "fcn_resnet50", "deeplabv3_mobilenet_v3_large"}
    assert known | {"lraspp_mobilenet_v3_large"} <= NETWORKS.keys()
