import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.border import BorderWeights, connected_components, two_nearest


def flood(inside):
    """Regions by walking from pixel to pixel, numbered as they are met."""
    components = np.zeros(inside.shape, int)
    for start in zip(*np.nonzero(inside), strict=True):
        if components[start]:
            continue
        number, todo = components.max() + 1, [start]
        while todo:
            y, x = todo.pop()
            if not (0 <= y < inside.shape[0] and 0 <= x < inside.shape[1]):
                continue
            if inside[y, x] and not components[y, x]:
                components[y, x] = number
                todo += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return components


def all_distances(components):
    """Distance from each pixel to each component, h w n, by looking at every pair of pixels."""
    h, w = components.shape
    y, x = np.mgrid[:h, :w]
    distances = []
    for number in range(1, components.max() + 1):
        ys, xs = np.nonzero(components == number)
        squared = (y[..., None] - ys) ** 2 + (x[..., None] - xs) ** 2
        distances.append(np.sqrt(squared.min(-1)))
    return np.stack(distances, -1)


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (20, 31)])
def test_components_are_those_of_a_flood_fill(size, density):
    inside = np.random.default_rng(0).random(size) < density
    found, expected = connected_components(inside), flood(inside)
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert (found > 0).tolist() == inside.tolist()


def test_a_spiral_is_one_component():
    inside = np.zeros((31, 31), bool)
    y, x, step, (dy, dx) = 0, 0, 30, (0, 1)
    while step > 0:
        for _ in range(2):
            for _ in range(step):
                inside[y, x] = True
                y, x = y + dy, x + dx
            dy, dx = dx, -dy
        step -= 2
        inside[y, x] = True
    assert connected_components(inside).max() == flood(inside).max() == 1
    assert 300 < inside.sum() < 700


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_to_the_two_nearest_of_all_components(seed):
    inside = np.random.default_rng(seed).random((23, 30)) < 0.06
    components = connected_components(inside)
    expected = np.sort(all_distances(components), axis=-1)
    d1, d2 = two_nearest(components, reach=40)
    np.testing.assert_allclose(d1, expected[..., 0], rtol=1e-12)
    np.testing.assert_allclose(d2, expected[..., 1], rtol=1e-12)


def test_distances_up_to_the_reach_are_exact_and_far_ones_infinite():
    inside = np.random.default_rng(3).random((40, 50)) < 0.01
    components = connected_components(inside)
    expected = np.sort(all_distances(components), axis=-1)
    for found, exact in zip(
        two_nearest(components, reach=6), np.moveaxis(expected, -1, 0)[:2], strict=True
    ):
        near = exact <= 6
        assert near.any() and not near.all()
        np.testing.assert_allclose(found[near], exact[near], rtol=1e-12)
        assert (found[~near] > 6).all() and np.isinf(found[exact > 6 * 2**0.5]).all()


def test_without_components_or_with_one_the_missing_distances_are_infinite():
    nothing = np.zeros((4, 5), np.int32)
    assert np.isinf(two_nearest(nothing, reach=3)).all()
    nothing[0, 0] = 1
    d1, d2 = two_nearest(nothing, reach=9)
    assert d1[3, 4] == 5 and np.isinf(d2).all()


def weigh(label, **fields):
    label = np.asarray(label, np.uint8)
    given = {"image": label[..., None], "label": label, "name": "a"}
    found = BorderWeights(**fields)(given, np.random.default_rng(0))
    assert "weight" not in given and found["label"] is label
    assert found["weight"].dtype == np.float32 and found["weight"].shape == label.shape
    return found["weight"]


def test_the_weight_map_is_the_papers_formula_outside_cells():
    label = (np.random.default_rng(1).random((30, 36)) < 0.05).astype(np.uint8)
    distances = np.sort(all_distances(flood(label == 1)), axis=-1)
    border = 10 * np.exp(-((distances[..., 0] + distances[..., 1]) ** 2) / (2 * 5**2))
    expected = np.where(label == 1, 1, 1 + border)
    np.testing.assert_allclose(weigh(label), expected, rtol=1e-6)


def test_the_gap_between_two_cells_weighs_most():
    label = np.zeros((20, 41), np.uint8)
    label[:, 4:20] = label[:, 21:37] = 1
    weight = weigh(label)
    assert np.unravel_index(weight.argmax(), weight.shape)[1] == 20
    np.testing.assert_allclose(weight[:, 20], 1 + 10 * np.exp(-4 / 50), rtol=1e-6)
    assert (weight[label == 1] == 1).all() and weight[:, 0].max() < 1.01


def test_class_weights_are_added_and_ignored_pixels_weigh_nothing():
    label = [[1, 1, 255, 1, 0, 0, 1]]
    weight = weigh(label, class_weights=(3.0, 0.5))
    assert weight[0, [0, 1, 2, 3, 6]].tolist() == [0.5, 0.5, 0, 0.5, 0.5]
    np.testing.assert_allclose(weight[0, 4:6], 3 + 10 * np.exp(-9 / 50), rtol=1e-6)


def test_another_class_may_be_the_foreground():
    label = np.array([[0, 2, 0, 2, 0]])
    assert weigh(label, foreground=2)[0, 2] > 9 > weigh(label)[0, 2] == 1


def test_fields_and_labels_that_cannot_work_are_named():
    with pytest.raises(InputError, match="got -1"):
        BorderWeights(w0=-1)
    with pytest.raises(InputError, match="got 10.0 and 'a'"):
        BorderWeights(sigma="a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got 10.0 and 0"):
        BorderWeights(sigma=0)
    with pytest.raises(InputError, match=r"got \(-1,\)"):
        BorderWeights(class_weights=(-1,))
    with pytest.raises(InputError, match="2 class_weights, but a label is 4"):
        weigh([[0, 4]], class_weights=(1.0, 2.0))
