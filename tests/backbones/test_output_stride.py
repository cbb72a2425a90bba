"""Plans of strides and dilations: published tables."""

import pytest

from segjax.backbones.output_stride import plan_stages


@pytest.mark.parametrize(
    "output_stride, expected",
    [
        (32, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]),
        (16, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]),
        (8, [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]),
    ],
)
def test_a_stage_that_loses_its_stride_keeps_the_previous_dilation_first(
    output_stride, expected
):
    assert [tuple(stage) for stage in plan_stages(output_stride)] == expected


def test_units_at_output_stride_8_are_torchvisions():
    stages = plan_stages(8)
    layer3, layer4 = stages[2].units(6), stages[3].units(3)
    assert [unit.first_dilation for unit in layer3] == [1, 2, 2, 2, 2, 2]
    assert [unit.first_dilation for unit in layer4] == [2, 4, 4]
    assert [unit.stride for unit in plan_stages(32)[3].units(3)] == [2, 1, 1]


@pytest.mark.parametrize("output_stride, expected", [(16, [2, 4, 8]), (8, [4, 8, 16])])
def test_multi_grid_gives_the_papers_rates_to_all_units(output_stride, expected):
    units = plan_stages(output_stride)[3].units(3, (1, 2, 4))
    assert [unit.first_dilation for unit in units] == expected
    assert [unit.dilation for unit in units] == expected
    assert {unit.stride for unit in units} == {1}


def test_an_output_stride_out_of_the_list_is_an_error_that_names_the_list():
    with pytest.raises(ValueError, match=r"one of \(8, 16, 32\), got 4"):
        plan_stages(4)


def test_a_multi_grid_of_another_length_is_an_error():
    with pytest.raises(ValueError, match=r"multi_grid=\(1, 2\) must have .* each of 3 units"):
        plan_stages(16)[3].units(3, (1, 2))


def test_given_rates_are_those_of_all_convolutions_and_only_the_first_unit_strides():
    units = plan_stages(32)[3].units_at_rates(3, (5, 9, 17))
    assert [tuple(unit) for unit in units] == [(2, 5, 5), (1, 9, 9), (1, 17, 17)]
