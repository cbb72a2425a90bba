"""Partners of an example are drawn from its own key: the loader's options change nothing."""

import dataclasses
import pathlib
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import pytest

from segjax.data.loader import batches
from segjax.data.partners import Partners, transformed
from segjax.data.synthetic import Synthetic
from segjax.description import describe_lines
from segjax.experiment import load
from segjax.train.stand_in import stand_in
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.transforms.mix import CopyPaste, CutMix, Mosaic

DATA = Synthetic(size=24, count=7)
MIXING = (
    *(RandomScale(0.7, 1.6), RandomCrop(24), Mosaic(), RandomFlip()),
    *(CutMix(), CopyPaste((1, 2, 3, 4, 5))),
)


def take(count, *, first_step=0, transforms=MIXING, **options):
    options = {"batch_size": 4, "seed": 1, "threads": 2, "buffer": 2, **options}
    iterator = batches(DATA, transforms, first_step=first_step, **options)
    found = list(islice(iterator, count))
    iterator.close()
    return found


def assert_equal(batches_a, batches_b):
    for a, b in zip(batches_a, batches_b, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], strict=True)


@pytest.fixture(scope="module")
def expected():
    return take(5, threads=0, buffer=0)


def test_partners_change_the_batches_and_other_seeds_other_partners(expected):
    plain = take(5, transforms=MIXING[:2])
    assert all(
        not np.array_equal(a["image"], b["image"]) for a, b in zip(expected, plain, strict=True)
    )
    assert not np.array_equal(expected[0]["image"], take(1, seed=2)[0]["image"])


def test_threads_and_buffers_change_nothing(expected):
    assert_equal(take(5, threads=1, buffer=1), expected)
    assert_equal(take(5, threads=5, buffer=9), expected)


def test_worker_processes_change_nothing(expected):
    assert_equal(take(5, workers=2), expected)


def test_a_run_that_resumes_sees_the_same_partners(expected):
    for step in (1, 3):
        assert_equal(take(5 - step, first_step=step), expected[step:])


def test_two_hosts_share_the_batch_of_one(expected):
    halves = [take(5, process_index=index, process_count=2) for index in (0, 1)]
    joined = [
        {key: np.concatenate([a[key], b[key]]) for key in a}
        for a, b in zip(*halves, strict=True)
    ]
    assert_equal(joined, expected)


@dataclass(frozen=True)
class Recording:
    """Returns the names of its partners, and reads some of them only."""

    read: tuple[int, ...]
    partners: ClassVar[int] = 3

    def __call__(self, example, rng, partners=()):
        seen = {place: partners[place]["name"] for place in self.read}
        return {**example, "seen": str(seen), "next": float(rng.random())}


class Counting:
    """A dataset that counts what is read of it."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 50

    def __getitem__(self, index):
        self.read.append(index)
        return {"name": f"n{index}"}


def outcome(read, seed=0):
    data = Counting()
    example = {"name": "own"}
    rng = np.random.default_rng(seed)
    found = transformed(example, (Recording(read),), rng, dataset=data)
    return found, data.read


def test_a_partner_is_read_only_when_it_is_used_and_reading_changes_no_random_number():
    none, read = outcome(())
    assert not read
    all_three, read = outcome((0, 1, 2))
    assert len(read) == 3 and all_three["next"] == none["next"]
    backwards, read_backwards = outcome((2, 0))
    assert read_backwards == [read[2], read[0]] and backwards["next"] == none["next"]
    assert eval(backwards["seen"]).items() <= eval(all_three["seen"]).items()


def test_each_example_is_as_likely_to_be_a_partner():
    reads = [index for seed in range(400) for index in outcome((0, 1, 2), seed)[1]]
    counts = np.bincount(reads, minlength=50)
    assert 8 <= counts.min() and counts.max() <= 45


def test_a_partner_has_gone_through_the_transforms_before_with_its_own_random_numbers():
    def tag(example, rng):
        return {**example, "tag": [*example.get("tag", ()), float(rng.random())]}

    rng = np.random.default_rng(0)
    partners = Partners(3, (tag, tag), rng, dataset=Counting())
    tags = [partner["tag"] for partner in partners]
    assert all(len(tag) == 2 for tag in tags) and len({t for tag in tags for t in tag}) == 6
    assert partners[1]["tag"] == tags[1] and len(partners) == 3
    assert [p["tag"] for p in partners[1:]] == tags[1:] and partners[-1]["tag"] == tags[2]


def test_a_partner_is_mixed_itself_where_a_mixing_transform_stands_before():
    data = Counting()
    transforms = (Recording((0,)), Recording((0, 1)))
    transformed({"name": "own"}, transforms, np.random.default_rng(0), dataset=data)
    assert len(data.read) == 1 + 2 * 2


def test_the_batch_that_is_made_up_before_training_has_partners_too():
    file = pathlib.Path(__file__).parents[2] / "experiments" / "quickstart.py"
    mixing = (RandomCrop(24), CutMix(probability=1.0), Mosaic(probability=1.0))
    batch, _ = stand_in(dataclasses.replace(load(file), transforms=mixing))
    assert batch["image"].shape == (1, 24, 24, 3)


def test_the_number_of_partners_is_no_setting_of_a_run():
    assert list(describe_lines((CutMix(), Mosaic()), path="transforms")) == [
        "transforms.0 = segjax.transforms.mix.CutMix",
        "transforms.0.alpha = 1.0",
        "transforms.0.probability = 0.5",
        "transforms.1 = segjax.transforms.mix.Mosaic",
        "transforms.1.centre = (0.25, 0.75)",
        "transforms.1.probability = 0.5",
    ]
