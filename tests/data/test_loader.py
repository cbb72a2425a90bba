import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from segjax.data.loader import batches, equal_size_batches
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.transforms.border import BorderWeights
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import RandomCrop, RandomScale
from segjax.transforms.kinds import Nearest


@dataclass(frozen=True)
class Numbers:
    """Example i is a grey image of value i; its size depends on i where `sizes` has several."""

    count: int = 5
    sizes: tuple = ((2, 3),)
    class_names: tuple = tuple(f"class {i}" for i in range(100))

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        h, w = self.sizes[index % len(self.sizes)]
        image = np.full((h, w, 1), index, np.uint8)
        return {"image": image, "label": image[..., 0], "name": f"n{index}"}


ORDER = [4, 1, 0, 3, 0, 4, 1, 2]
WEIGHTS = [0.1088581085, 0.3564668894, 0.5883412361, 0.7429072261]


def add_noise(example, rng):
    return {**example, "weight": rng.random(example["label"].shape, np.float32)}


def take(count, dataset=Numbers(), transforms=(add_noise,), **options):
    options = {"batch_size": 4, "seed": 1, "threads": 2, "buffer": 2, **options}
    iterator = batches(dataset, transforms, **options)
    found = list(islice(iterator, count))
    iterator.close()
    return found


def assert_equal(batches_a, batches_b):
    assert len(batches_a) == len(batches_b)
    for a, b in zip(batches_a, batches_b, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], strict=True)


def test_a_batch_has_image_label_step_and_what_transforms_add_but_no_name():
    (batch,) = take(1, first_step=7)
    shapes = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
    assert shapes == {
        "image": ((4, 2, 3, 1), "uint8"),
        "label": ((4, 2, 3), "uint8"),
        "weight": ((4, 2, 3), "float32"),
        "step": ((4,), "int32"),
    }
    assert batch["step"].tolist() == [7] * 4


def test_every_epoch_visits_every_example_once_in_another_order():
    seen = np.concatenate([batch["label"][:, 0, 0] for batch in take(15)])
    epochs = [tuple(epoch) for epoch in seen.reshape(12, 5).tolist()]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(epochs)) > 6


def test_transforms_draw_other_numbers_for_each_example_and_epoch():
    weights = np.concatenate([batch["weight"][:, 0, 0] for batch in take(10)])
    assert len(np.unique(weights)) == 40


def test_another_seed_gives_other_batches():
    a, b = take(3), take(3, seed=2)
    assert not np.array_equal(a[0]["weight"], b[0]["weight"])
    assert any(not np.array_equal(x["image"], y["image"]) for x, y in zip(a, b, strict=True))


def test_the_number_of_threads_changes_nothing():
    expected = take(6, threads=0, buffer=0)
    assert_equal(take(6, threads=1, buffer=1), expected)
    assert_equal(take(6, threads=5, buffer=9), expected)


def test_worker_processes_change_nothing():
    dataset = Synthetic(size=16)
    # What is declared of an entry reaches the worker's transforms too.
    declared = Declare("weight", Nearest())
    transforms = (declared, BorderWeights(), RandomScale(1.1, 1.5), RandomCrop(20))
    expected = take(3, dataset, transforms=transforms, first_step=2)
    found = take(3, dataset, transforms=transforms, first_step=2, workers=2)
    assert_equal(found, expected)
    assert all(type(value) is np.ndarray for batch in found for value in batch.values())


KILLED = """
import multiprocessing, os, signal
from segjax.data.loader import batches
from segjax.data.synthetic import Synthetic

if __name__ == "__main__":
    stream = batches(Synthetic(size=16), (), batch_size=1, seed=0, workers=1)
    next(stream)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_worker_processes_end_with_a_run_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    # Its end is that of the last process that may write: `run` waits for all of them.
    result = subprocess.run(
        [sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, timeout=120
    )
    assert result.returncode == -signal.SIGKILL and result.stdout.split()


def test_a_run_that_resumes_sees_what_it_would_have_seen():
    assert_equal(take(4, first_step=5), take(9)[5:])


def test_two_processes_share_the_batch_of_one():
    halves = [take(6, process_index=index, process_count=2) for index in (0, 1)]
    joined = [
        {key: np.concatenate([a[key], b[key]]) for key in a}
        for a, b in zip(*halves, strict=True)
    ]
    assert_equal(joined, take(6))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_sets_and_batches_of_every_size_go_together(count, batch_size):
    # The stream of examples does not depend on how it is cut: every epoch has each once.
    found = take(6, Numbers(count), batch_size=batch_size)
    assert all(batch["image"].shape == (batch_size, 2, 3, 1) for batch in found)
    seen = np.concatenate([batch["label"][:, 0, 0] for batch in found])
    epochs = seen[: len(seen) // count * count].reshape(-1, count)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(count), (len(epochs), 1)))


@pytest.mark.parametrize("batch_size", [2, 3, 6])
def test_the_batch_size_changes_neither_the_order_nor_the_random_numbers(batch_size):
    ones = take(12, batch_size=1)
    stacked = lambda found, key: np.concatenate([batch[key] for batch in found])[:12]
    for key in ("image", "weight"):
        np.testing.assert_array_equal(
            stacked(take(12 // batch_size, batch_size=batch_size), key), stacked(ones, key)
        )


def test_the_order_and_the_random_numbers_of_a_seed_are_those_of_earlier_versions():
    # A run that has begun goes on with them.
    found = take(2, first_step=3)
    order = np.concatenate([batch["label"][:, 0, 0] for batch in found]).tolist()
    assert order == ORDER
    assert found[0]["weight"][:, 0, 0].tolist() == pytest.approx(WEIGHTS, rel=1e-6)


def test_one_example_a_process_makes_a_batch_of_two():
    halves = [take(4, batch_size=2, process_index=i, process_count=2) for i in (0, 1)]
    for whole, *parts in zip(take(4, batch_size=2), *halves, strict=True):
        np.testing.assert_array_equal(
            whole["weight"], np.concatenate([part["weight"] for part in parts])
        )


def test_examples_of_several_sizes_cannot_share_a_batch():
    with pytest.raises(InputError, match=r"sizes (2x3|4x5) \(n\d\) and .*RandomCrop"):
        take(1, Numbers(sizes=((2, 3), (4, 5))))


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"batch_size": 3, "process_count": 2}, {"seed": -1}, {"seed": 2**32}],
    ids=str,
)
def test_arguments_that_cannot_work_are_named_before_work_starts(options):
    with pytest.raises(
        InputError, match=f"^{next(iter(options))}={next(iter(options.values()))}"
    ):
        batches(Numbers(), (), **{"batch_size": 4, "seed": 0, **options})


def test_the_loader_leaves_no_thread_behind():
    before = set(threading.enumerate())
    take(2)
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(timeout=600)
    assert not any(thread.is_alive() for thread in started)


def test_equal_sizes_are_grouped_and_each_index_comes_once():
    dataset = Numbers(11, sizes=((2, 3), (4, 5), (2, 3)))
    groups = list(equal_size_batches(dataset, range(1, 11), 3, threads=2))
    for indices, images, examples in groups:
        assert images.shape == (len(indices), *images.shape[1:3], 1)
        assert {example["label"].shape for example in examples} == {images.shape[1:3]}
        assert images[:, 0, 0, 0].tolist() == list(indices)
    assert sorted(i for indices, _, _ in groups for i in indices) == list(range(1, 11))
    assert [len(indices) for indices, _, _ in groups] == [3, 3, 3, 1]


def test_evaluation_reads_only_a_few_examples_ahead():
    asked = []

    class Counting(Numbers):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    reader = equal_size_batches(Counting(100), range(100), 2, threads=1)
    next(reader)
    assert len(asked) <= 2 + 2 * 1 + 1
    reader.close()
