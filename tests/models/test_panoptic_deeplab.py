"""Panoptic-DeepLab's maps, parameters and strides."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50
from segjax.backbones.xception import Xception71
from segjax.conformity import check_classifiers, missing
from segjax.contracts import AXIS, Classifier, Model
from segjax.models.panoptic_deeplab import PanopticDeepLab

SMALL = runpy.run_path(str(pathlib.Path(__file__).with_name("small_networks.py")))
shapes, variables_of = SMALL["shapes"], SMALL["variables_of"]
MODEL = PanopticDeepLab(
    ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=16),
    num_classes=3,
    things=(1,),
    rates=(1, 2),
    semantic_features=8,
    semantic_low_features=(6, 4),
    instance_features=8,
    instance_low_features=(6, 4),
    head_features=4,
    aspp_features=8,
)
CHANNELS = {"semantic": 3, "center": 1, "offset": 2}


def parameters(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("size", [(33, 47), (17, 17), (64, 32), (2, 3), (1, 1)], ids=str)
def test_each_map_has_the_size_of_the_image(size):
    maps, _ = shapes(MODEL, size)
    assert {k: v.shape for k, v in maps.items()} == {
        k: (1, *size, channels) for k, channels in CHANNELS.items()
    }
    assert {v.dtype for v in maps.values()} == {jnp.dtype("float32")}


def convolution(cin: int, cout: int, side: int = 1) -> int:
    """Parameters of a convolution without bias and of its norm."""
    return side**2 * cin * cout + 2 * cout


def separable(cin: int, cout: int) -> int:
    return 25 * cin + 2 * cin + convolution(cin, cout)


def aspp(cin: int, *, split: bool) -> int:
    conv3x3 = 9 * cin + 2 * cin + convolution(cin, 256) if split else convolution(cin, 256, 3)
    return 2 * convolution(cin, 256) + 3 * conv3x3 + convolution(5 * 256, 256)


def decoders_and_heads(c2: int, c3: int, c5: int, *, split: bool, classes: int = 19) -> int:
    """The paper's list of layers, counted by hand."""
    semantic = (
        *(aspp(c5, split=split), convolution(c3, 64), separable(256 + 64, 256)),
        *(convolution(c2, 32), separable(256 + 32, 256)),
        *(separable(256, 256), 256 * classes + classes),
    )
    instance = (
        *(aspp(c5, split=split), convolution(c3, 32), separable(256 + 32, 128)),
        *(convolution(c2, 16), separable(128 + 16, 128)),
        *(separable(128, 32), 32 + 1, separable(128, 32), 2 * 32 + 2),
    )
    return sum(semantic) + sum(instance)


# The backbones without their classifiers: torchvision's ResNet-50, DeepLab's Xception-71.
@pytest.mark.parametrize(
    ("backbone", "own", "widths", "split", "total"),
    [
        (ResNet50(output_stride=32), 23_508_032, (256, 512, 2048), False, 54_973_702),
        (Xception71(output_stride=16), 40_289_736, (256, 728, 2048), True, 46_745_486),
    ],
    ids=["resnet50", "xception71"],
)
def test_the_number_of_parameters_is_that_of_the_papers_layers(
    backbone, own, widths, split, total
):
    model = PanopticDeepLab(backbone, 19, things=(11,), rates=(6, 12, 18), separable=split)
    assert parameters(shapes(model)[1]["params"]) == total
    assert own + decoders_and_heads(*widths, split=split) == total


def test_it_says_its_classes_and_which_layers_are_for_them():
    assert not missing(MODEL, Model) and not missing(MODEL, Classifier)
    leaves = jax.tree.leaves_with_path(shapes(MODEL)[1])
    paths = ["/".join(key.key for key in path) for path, _ in leaves]
    check_classifiers(MODEL, paths)
    more = jax.tree.leaves_with_path(shapes(MODEL.clone(num_classes=5))[1])
    changed = {p for p, (_, a), (_, b) in zip(paths, leaves, more, strict=True) if a != b}
    assert all("semantic_head/predictor" in path for path in changed) and changed


def test_variables_of_output_stride_16_evaluate_at_8():
    dense = MODEL.at_output_stride(8)
    assert (dense.rates, dense.backbone.output_stride) == ((2, 4), 8)
    assert shapes(dense) == shapes(MODEL)


def test_bfloat16_and_remat_keep_variables_and_dtype():
    for other in (MODEL.clone(dtype=jnp.bfloat16), MODEL.clone(remat=True)):
        assert shapes(other) == shapes(MODEL)


@pytest.fixture(scope="module")
def gradients():
    """The gradient of each map, by parameter, in training on two images."""
    variables = variables_of(MODEL)
    rest = {k: v for k, v in variables.items() if k != "params"}
    image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 33, 47, 3)), jnp.float32)

    def maps(params, x):
        found, _ = MODEL.apply(
            {"params": params, **rest},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        return {name: jnp.sin(value).sum() for name, value in found.items()}

    found = jax.pmap(jax.jacrev(maps), axis_name=AXIS, in_axes=(None, 0))
    return found(variables["params"], image)


@pytest.mark.slow
def test_a_gradient_reaches_every_parameter_of_each_maps_own_path(gradients):
    semantic, instance = {"semantic_decoder", "semantic_head"}, {"instance_decoder"}
    for name, own in (
        ("semantic", semantic),
        ("center", instance | {"center_head"}),
        ("offset", instance | {"offset_head"}),
    ):
        reached = {
            part: [bool(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree)]
            for part, tree in gradients[name].items()
        }
        assert {part for part, which in reached.items() if any(which)} == own | {"backbone"}
        assert all(all(reached[part]) for part in own | {"backbone"})
