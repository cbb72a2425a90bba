"""Grouping of pixels around centres, against a brute force in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.detection.grouping import centers, group, panoptic_map
from segjax.objects import PanopticMap
from segjax.transforms.center_targets import CenterTargets

THINGS = (1, 3)
SIZE = (17, 23)
FIELDS = {"things": THINGS, "threshold": 0.1, "kernel": 5, "most": 6, "stuff_area": 30}


def maps(seed: int, *, heat: float = 1.0) -> dict[str, np.ndarray]:
    """Random maps of exact binary fractions, so that ties are ties in any arithmetic."""
    rng = np.random.default_rng(seed)
    h, w = SIZE
    semantic = rng.integers(1, 9, (h // 4 + 1, w // 4 + 1, 5)).repeat(4, 0).repeat(4, 1)[:h, :w]
    return {
        "semantic": (semantic / 16).astype(np.float32),
        "center": (heat * rng.integers(0, 32, (h, w, 1)) / 32).astype(np.float32),
        "offset": (rng.integers(-32, 33, (h, w, 2)) / 8).astype(np.float32),
    }


def brute_centers(heat, *, threshold, kernel, most):
    found = []
    reach = kernel // 2
    for i, j in np.ndindex(heat.shape):
        window = heat[max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
        if heat[i, j] == window.max() and heat[i, j] > threshold:
            found.append((-heat[i, j], i, j))
    return [(i, j, -heat) for heat, i, j in sorted(found)[:most]]


def brute_segments(semantic, center, offset, *, things, threshold, kernel, most, stuff_area):
    """{(class, is thing, pixels): score} of the segments, pixel by pixel."""
    peaks = brute_centers(center[..., 0], threshold=threshold, kernel=kernel, most=most)
    classes, members, stuff = semantic.argmax(-1), {}, {}
    for (i, j), class_id in np.ndenumerate(classes):
        if class_id not in things:
            stuff.setdefault(int(class_id), []).append((i, j))
        elif peaks:
            y, x = i + float(offset[i, j, 0]), j + float(offset[i, j, 1])
            distance = [(y - row) ** 2 + (x - column) ** 2 for row, column, _ in peaks]
            members.setdefault(int(np.argmin(distance)), []).append((i, j))
    found = {}
    for number, pixels in members.items():
        vote = np.bincount([classes[at] for at in pixels]).argmax()
        mean = np.mean([semantic[at][vote] for at in pixels])
        found[(int(vote), True, tuple(pixels))] = peaks[number][2] * mean
    for class_id, pixels in stuff.items():
        if len(pixels) >= stuff_area:
            mean = np.mean([semantic[at][class_id] for at in pixels])
            found[(class_id, False, tuple(pixels))] = mean
    return found


def as_segments(found: PanopticMap):
    return {
        (s.class_id, s.is_thing, tuple(map(tuple, np.argwhere(found.ids == s.id).tolist()))): s
        for s in found.segments
    }


@pytest.fixture(scope="module")
def compiled():
    return jax.jit(partial(group, **FIELDS))


@pytest.mark.parametrize("seed", range(20))
def test_segments_of_random_maps_equal_a_brute_force(compiled, seed):
    given = maps(seed, heat=0.0 if seed == 19 else 1.0)
    found = as_segments(panoptic_map(compiled(**given), THINGS))
    wanted = brute_segments(**given, **FIELDS)
    assert found.keys() == wanted.keys()
    assert all(np.isclose(found[key].score, score) for key, score in wanted.items())


def test_pixels_choose_among_more_centres_than_are_compared_at_a_time():
    fields = FIELDS | {"kernel": 3, "most": 20}
    run = jax.jit(partial(group, **fields))
    for seed in range(2):
        given = maps(seed)
        found = as_segments(panoptic_map(jax.device_get(run(**given)), THINGS))
        assert found.keys() == brute_segments(**given, **fields).keys()
        assert sum(is_thing for _, is_thing, _ in found) > 8


def test_random_maps_have_objects_ties_small_stuff_and_no_centres():
    """The random maps above reach every rule."""
    wanted = [brute_segments(**maps(seed), **FIELDS) for seed in range(19)]
    assert all(any(thing for _, thing, _ in each) for each in wanted)
    loose = [brute_segments(**maps(seed), **{**FIELDS, "stuff_area": 0}) for seed in range(19)]
    assert sum(map(len, loose)) > sum(map(len, wanted))
    assert not any(t for _, t, _ in brute_segments(**maps(19, heat=0.0), **FIELDS))
    offset, peaks = (
        maps(0)["offset"],
        brute_centers(maps(0)["center"][..., 0], threshold=0.1, kernel=5, most=6),
    )
    y, x = np.indices(SIZE) + np.moveaxis(offset, -1, 0)
    distance = np.sort([(y - i) ** 2 + (x - j) ** 2 for i, j, _ in peaks], 0)
    assert (distance[0] == distance[1]).any()


@pytest.mark.parametrize("kernel", [1, 3, 7, 41])
def test_centres_are_local_maxima_by_falling_heat_and_the_first_of_equals(kernel):
    heat = maps(3)["center"][..., 0]
    places, found, count = centers(jnp.asarray(heat), threshold=0.5, kernel=kernel, most=9)
    wanted = brute_centers(heat, threshold=0.5, kernel=kernel, most=9)
    n = int(count)
    assert [(*place, h) for place, h in zip(places.tolist(), found.tolist(), strict=True)][
        :n
    ] == wanted
    assert not found[n:].any()


def test_an_image_with_fewer_pixels_than_slots_has_its_centre():
    heat = jnp.zeros((2, 2)).at[1, 0].set(0.5)
    places, found, count = centers(heat, threshold=0.1, kernel=3, most=9)
    assert (places[0].tolist(), found[0], int(count)) == ([1, 0], 0.5, 1)


def test_targets_as_outputs_give_back_the_true_segments():
    """Perfect maps: discs and stuff, with a crowd that no centre claims."""
    ids = np.zeros((60, 80), np.uint16)
    y, x = np.indices(ids.shape)
    for number, (row, column, radius) in enumerate(
        ((15, 15, 9), (40, 30, 12), (20, 60, 14)), 1
    ):
        ids[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
    classes = np.array([1, 3, 1], np.int32)
    label = np.where(
        ids > 0, np.append(classes, 0)[ids.astype(int) - 1], np.where(y < 45, 0, 2)
    )
    example = {
        "image": np.zeros((60, 80, 3), np.uint8),
        "label": label.astype(np.uint8),
        "instances": ids[..., None],
        "instance_ids": np.array([1, 2, 3], np.int32),
        "classes": classes,
        "crowd": np.zeros(3, bool),
    }
    targets = CenterTargets()(example, np.random.default_rng(0))
    semantic = np.eye(4, dtype=np.float32)[example["label"]]
    grouped = group(
        jnp.asarray(semantic),
        jnp.asarray(targets["center"][..., None]),
        jnp.asarray(targets["offset"]),
        **{**FIELDS, "kernel": 7},
    )
    found = as_segments(panoptic_map(grouped, THINGS))
    truth = as_segments(PanopticMap.of_example(example, THINGS))
    assert found.keys() == truth.keys()
    assert all(np.isclose(found[key].score, 1.0) for key in truth)
