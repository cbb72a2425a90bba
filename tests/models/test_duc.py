"""DUC and HDC: published counts and rates, the order of the labels' channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BottleneckV1, ResNet101, ResNet152
from segjax.layers.conv import Conv
from segjax.models.duc import DUC, HDC_BIGGER, HDC_CONV, HDC_NONE, HDC_RF

IMAGE = jax.ShapeDtypeStruct((1, 16, 24, 3), jnp.float32)


def _count(model):
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), IMAGE)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(
    "resnet, classes, cell, count",
    [
        (ResNet101, 19, 2, 65_038_464),
        (ResNet152, 19, 2, 80_682_112),
        (ResNet101, 19, 1, 132_282_048),
    ],
)
def test_parameters_are_as_many_as_published(resnet, classes, cell, count):
    rates = HDC_BIGGER if resnet is ResNet101 else ()
    backbone = resnet(block=BottleneckV1, deep_stem=True, output_stride=8, rates=rates)
    assert _count(DUC(backbone, num_classes=classes, cell=cell)) == count


def test_dilation_bigger_is_the_authors_unit_by_unit():
    (_, layer3), (_, layer4) = HDC_BIGGER
    assert layer3 == (2, 2, 5, 9, *[1, 2, 5, 9] * 4, 1, 2, 5)
    assert layer4 == (5, 9, 17)


def test_dilation_rf_enlarges_the_field_as_much_as_the_paper_says():
    assert 2 * sum(sum(rates) for _, rates in HDC_RF) == 116


@pytest.mark.parametrize("rates", [HDC_NONE, HDC_CONV, HDC_RF, HDC_BIGGER])
def test_an_assignment_fits_resnet_101(rates):
    assert [(stage, len(each)) for stage, each in rates] == [(3, 23), (4, 3)]


class _Pixels(nn.Module):
    """The least that is a backbone: every eighth pixel."""

    output_stride: int = 8
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, image, *, train):
        return {"c5": Conv(4, 1, stride=8, name="c5")(image)}


def _biased(model, size):
    """Returns logits of which the n-th channel of every branch is n."""
    image = jnp.zeros((1, *size, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    fill = lambda path, leaf: (
        jnp.arange(leaf.size, dtype=jnp.float32)
        if path[-1].key == "bias" and path[1].key != "c5"
        else jnp.zeros(leaf.shape)
    )
    variables = jax.tree_util.tree_map_with_path(fill, shapes)
    return jax.jit(lambda v: model.apply(v, image, train=False))(variables)


def test_a_labels_channels_are_neighbours_and_fill_its_block_row_by_row():
    logits = _biased(DUC(_Pixels(), num_classes=3, rates=(1,)), (16, 24))
    block = np.arange(3 * 64).reshape(3, 8, 8).transpose(1, 2, 0)
    np.testing.assert_array_equal(logits[0], np.tile(block, (2, 3, 1)))


def test_a_cell_has_one_score_and_pixels_are_interpolated_from_the_sum_of_the_branches():
    model = DUC(_Pixels(), num_classes=2, cell=4, rates=(1, 2, 3))
    found = _biased(model, (8, 8))[0, :, :, 0]
    # Scores 0 1 / 2 3 of one label, three branches, four times as large.
    expected = jax.image.resize(3 * jnp.arange(4.0).reshape(2, 2), (8, 8), "bilinear")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("cell", [0, 3])
def test_a_cell_that_does_not_divide_the_stride_is_an_error(cell):
    with pytest.raises(ValueError, match=f"cell={cell} must divide .* output stride, 8"):
        _count(DUC(_Pixels(), num_classes=2, cell=cell))
