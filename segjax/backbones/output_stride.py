"""Strides and dilations for an output stride, and networks at another output stride.

A convolution that loses its stride reads the same grid as before, so it keeps its dilation. The
convolutions after it read a grid twice as fine, so they double theirs:

    layer4's k×k convolutions    the first               the others
    output stride 32             stride 2, dilation 1    dilation 1
    output stride 16             stride 1, dilation 1    dilation 2

Only this layout makes dense features subsample to the strided ones (`dense[:, ::2, ::2] ==
strided`), and pretrained weights assume it.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import flax.linen as nn

OUTPUT_STRIDES = (8, 16, 32)

Network = TypeVar("Network", bound=nn.Module)


class Unit(NamedTuple):
    """A unit's stride, the dilation of its strided convolution, and that of the others."""

    stride: int
    first_dilation: int
    dilation: int


class Stage(NamedTuple):
    """A stage's stride, the dilation of its first convolution, and that of the others."""

    stride: int
    first_dilation: int
    dilation: int

    def units(self, count: int, multi_grid: Sequence[int] | None = None) -> tuple[Unit, ...]:
        """Returns the stride and dilations of each of the stage's `count` units.

        Without `multi_grid` the layout is torchvision's: only the first convolution of the
        first unit has the stride and the first dilation. With it, all convolutions of unit i,
        the first unit included, dilate by dilation · multi_grid[i] (DeepLab v3, section 3.2: 2,
        4, 8 for (1, 2, 4) at output stride 16; 4, 8, 16 at 8).

        Raises:
          ValueError: `multi_grid` does not have one factor for each unit.

        >>> [unit.dilation for unit in plan_stages(16)[3].units(3, (1, 2, 4))]
        [2, 4, 8]
        """
        if multi_grid is None:
            later = Unit(1, self.dilation, self.dilation)
            return (Unit(*self), *[later] * (count - 1))
        if len(multi_grid) != count:
            raise ValueError(
                f"multi_grid={tuple(multi_grid)} must have a factor for each of {count} units."
            )
        return self.units_at_rates(count, [self.dilation * m for m in multi_grid])

    def units_at_rates(self, count: int, rates: Sequence[int]) -> tuple[Unit, ...]:
        """Returns units whose convolutions all dilate by the unit's rate, the first included.

        Raises:
          ValueError: there is not one rate for each unit, or one is below 1.

        >>> [unit.stride for unit in plan_stages(32)[2].units_at_rates(3, (2, 2, 5))]
        [2, 1, 1]
        """
        if len(rates) != count or min(rates) < 1:
            raise ValueError(
                f"rates={tuple(rates)} must have one rate, at least 1, for each of {count} "
                "units."
            )
        strides = (self.stride, *[1] * (count - 1))
        return tuple(Unit(s, r, r) for s, r in zip(strides, rates, strict=True))


def plan_stages(
    output_stride: int, *, strides: Sequence[int] = (1, 2, 2, 2), stem: int = 4
) -> tuple[Stage, ...]:
    """Returns one `Stage` for each of `strides`, after a stem of stride `stem`.

    A stage keeps its stride until the output stride is reached.

    Raises:
      ValueError: the output stride is not one of 8, 16, 32.

    >>> for stage in plan_stages(8): print(*stage)
    1 1 1
    2 1 1
    1 1 2
    1 2 4
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"The output stride must be one of {OUTPUT_STRIDES}, got {output_stride}."
        )
    reached, dilation, result = stem, 1, []
    for stride in strides:
        if reached * stride <= output_stride:
            reached *= stride
            result.append(Stage(stride, dilation, dilation))
        else:
            result.append(Stage(1, dilation, dilation * stride))
            dilation *= stride
    return tuple(result)


@nn.nowrap
def with_output_stride(model: Network, output_stride: int) -> Network:
    """Returns the network with its backbone at another output stride; variables fit both.

    Models whose head does not change use it as their method `at_output_stride`.
    """
    return model.clone(backbone=model.backbone.clone(output_stride=output_stride))
