"""The one pipeline from a dataset to batches: shuffled, transformed, in step with the run.

The example at position i of epoch e is a function of (seed, e, i). Threads, worker processes
and the number of hosts change who computes it, never what it is; and a run that resumes at a
step asks for that step, with no iterator to save.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import grain.python as grain
import numpy as np
from absl import flags
from jaxtyping import Shaped

from segjax.conformity import declares
from segjax.contracts import Dataset, Example, Grouped, Transform
from segjax.data.checks import (
    CheckExample,
    check_same_channels,
    checked_example,
    class_map_check,
    read_example,
)
from segjax.data.partners import Examples, transformed
from segjax.errors import InputError


def batches(
    dataset: Dataset,
    transforms: Sequence[Transform],
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    threads: int = 8,
    buffer: int = 8,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    channels: int | None = None,
    check: CheckExample | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's part of each global batch from `first_step` on, without end.

    A batch has `image` b h w c, `label` b h w, `step` int32 b (the step it belongs to), and
    every other array that a transform adds to the example; `name` stays behind. With b =
    batch_size / process_count, process p gets examples p·b … (p + 1)·b − 1 of the global batch.
    An epoch's last examples and the next one's first ones share a batch, so every batch is
    full. If the dataset has groups (`contracts.Grouped`), a batch holds examples of one group.

    Args:
      dataset: its examples are read as often as needed; it may be smaller than a batch.
      transforms: applied in order to each example, all with one generator per example. From
        it come the partners of a `NeedsPartners` too (`segjax.data.partners`).
      batch_size: examples over all processes.
      seed: decides order and transforms; 0 … 2**32 − 1.
      first_step: the first batch is the one that a run from step 0 would see at this step.
      threads: each makes one batch at a time; 0 reads in the calling thread, between steps.
      buffer: batches read ahead in each worker, which bounds memory.
      workers: worker processes with `threads` each; 0 stays in this process. Worker processes
        import what they need, so they cannot use classes that an experiment file defines.
      channels: what the network was made for; None takes images of any.
      check: refuses what cannot be trained on; None: `checks.check_example`.

    Raises:
      InputError: an argument does not fit; and from the batches: `check` refuses an example as
        the transforms leave it, or the examples of a batch differ in size, keys
        or image type.
    """
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size={batch_size} cannot be split evenly over {process_count} processes; "
            "choose a positive multiple."
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"seed={seed} does not lie in 0 … 2**32 - 1.")
    dataset.prepare()
    stream = partial(
        _stream,
        dataset,
        make=partial(
            _transformed,
            transforms=tuple(transforms),
            dataset=_Source(dataset),
            check=check or class_map_check(dataset),
            channels=channels,
        ),
        batch_size=batch_size // process_count,
        processes=slice(process_index, None, process_count),
    )
    pipeline = (
        _mixed(stream, _groups(dataset), seed)
        .map_with_index(_with_step)
        .slice(slice(first_step, None))
        .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer))
    )
    if workers:
        # Grain reads absl's flags in its worker processes, and argparse never parsed them.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        pipeline = pipeline.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=buffer),
            worker_init_fn=_leave_signals_to_the_run,
        )
    return _closing(pipeline)


def equal_size_batches(
    dataset: Dataset,
    indices: Sequence[int],
    batch_size: int,
    *,
    threads: int = 4,
    check: CheckExample | None = None,
) -> Iterator[tuple[tuple[int, ...], Shaped[np.ndarray, "b h w c"], tuple[Example, ...]]]:
    """Yields (indices, images, examples) of up to `batch_size` examples of equal size.

    Each index occurs once.

    No image is padded, so its prediction cannot depend on its neighbours in the batch. Batches
    come as they fill up; the last one of each size may be smaller. Memory: at most `batch_size`
    examples of each size, and 2 · `threads` read ahead.

    Raises:
      InputError: `check`, by default `checks.check_example`, refuses an example, or its
        channels are not as many as the first one's.
    """
    waiting: dict[tuple, list[tuple[int, Example]]] = {}
    channels = None
    for index, example in _read_ahead(
        dataset, indices, threads, check or class_map_check(dataset)
    ):
        image = example["image"]
        channels = channels or image.shape[-1]
        check_same_channels(example, channels)
        group = waiting.setdefault((image.shape, image.dtype.name), [])
        group.append((index, example))
        if len(group) == batch_size:
            yield _stack_indexed(group)
            group.clear()
    for group in waiting.values():
        if group:
            yield _stack_indexed(group)


def _leave_signals_to_the_run(*_) -> None:
    """Ignores Ctrl-C and SIGTERM in a worker: terminals and schedulers send them to it too.

    The run kills its workers once its state is saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """Ends this worker once the run's process has ended, also by SIGKILL."""
    if run := multiprocessing.parent_process():
        run.join()
        os._exit(1)


def _stream(
    dataset: Dataset,
    indices: Sequence[int] | None,
    seed: int,
    *,
    make: Callable[[Example, np.random.Generator], Example],
    batch_size: int,
    processes: slice,
) -> grain.MapDataset:
    """Returns this process's part of each global batch of the examples at some indices."""
    return (
        grain.MapDataset.source(_Source(dataset, indices))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(make)
        # Grain counts in 64 bits, and batches of one example would be one too many for them.
        # (Further up, it would change the random numbers: they depend on what comes before.)
        .slice(slice(0, 2**62))
        .batch(batch_size, batch_fn=_stack)
        # Only now, so that the global order is the same for any number of processes.
        .slice(processes)
    )


def _mixed(
    stream: Callable[[Sequence[int] | None, int], grain.MapDataset],
    groups: Sequence[Sequence[int]],
    seed: int,
) -> grain.MapDataset:
    """Returns the streams of all groups as one, in which each has its share of the batches.

    Which group has a batch depends on its step alone, so all processes agree.
    """
    if not groups:
        return stream(None, seed)
    # Of its own seed: groups of one size would else be shuffled and transformed alike.
    seeds = np.random.SeedSequence(seed).generate_state(len(groups)).tolist()
    streams = [stream(indices, own) for indices, own in zip(groups, seeds, strict=True)]
    # Grain compares shares as floats, and steps beyond 2**40 would cost it digits.
    streams = [each.slice(slice(0, 2**40)) for each in streams]
    return grain.MapDataset.mix(streams, weights=[len(indices) for indices in groups])


def _groups(dataset: Dataset) -> Sequence[Sequence[int]]:
    """Returns the groups of a dataset that are not empty; none where it declares none."""
    count = len(dataset)
    if not declares(dataset, Grouped):
        return ()
    groups = [group for group in dataset.groups if len(group)]
    if sorted(index for group in groups for index in group) != list(range(count)):
        raise InputError(
            f"The groups of {type(dataset).__name__} must have each of its {count} "
            "examples once; mend its `groups`."
        )
    return groups


class _Source:
    """The dataset without its repr, which Grain would print, and index errors by NumPy ints."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | None = None):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.dataset if self.indices is None else self.indices)

    def __getitem__(self, index) -> Example:
        found = index if self.indices is None else self.indices[index]
        return read_example(self.dataset, int(found))

    def __repr__(self) -> str:
        return f"{type(self.dataset).__name__} of {len(self)} examples"


def _transformed(
    example: Example,
    rng: np.random.Generator,
    *,
    transforms: Sequence[Transform],
    dataset: Examples,
    check: CheckExample,
    channels: int | None,
) -> Example:
    """Returns the example after the transforms, checked."""
    example = transformed(example, transforms, rng, dataset=dataset)
    check(example, transformed=bool(transforms))
    if channels is not None:
        check_same_channels(example, channels, transformed=bool(transforms))
    return example


def _stack(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    keys = _arrays(examples[0])
    for example in examples[1:]:
        _check_alike(examples[0], example)
    return {key: _stacked(examples, key) for key in keys}


def _stacked(examples: Sequence[Example], key: str) -> np.ndarray:
    """Returns the arrays as one, in this machine's byte order."""
    array = np.stack([example[key] for example in examples])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_alike(first: Example, other: Example) -> None:
    """Raises InputError where one batch cannot hold both examples."""
    crop = "end the transforms with RandomCrop(size), or use batch_size=1"
    if "objects" in first and "size" in first:
        crop = "group the images, train_data=ByAspect(...), or use a square Canvas"
    alike = "let all have one shape"
    if "instance_ids" in first:
        alike = "end the transforms with PackObjects(100), which gives all the same shapes"
    size = lambda e: "x".join(map(str, e["label"].shape))
    shapes = lambda e: ", ".join(f"{key} {e[key].shape}" for key in _arrays(e))
    for what, of, remedy in (
        ("examples of sizes", size, crop),
        ("examples with", lambda e: ", ".join(_arrays(e)), "give all the same arrays"),
        ("examples of shapes", shapes, alike),
        ("images of", lambda e: e["image"].dtype.name, "let the dataset give one type"),
    ):
        if of(first) != of(other):
            raise InputError(
                f"One batch cannot hold {what} {of(first)} ({first['name']}) and {of(other)} "
                f"({other['name']}): {remedy}."
            )


def _arrays(example: Example) -> list[str]:
    return sorted(key for key, value in example.items() if isinstance(value, np.ndarray))


def _with_step(step: int, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**batch, "step": np.full(len(batch["image"]), step, np.int32)}


def _closing(pipeline) -> Iterator[dict[str, np.ndarray]]:
    """Yields the pipeline's batches; its threads and processes end with the generator."""
    iterator = iter(pipeline)
    try:
        for batch in iterator:
            # From worker processes come arrays in shared memory, which must not outlive them.
            yield {k: v if type(v) is np.ndarray else np.array(v) for k, v in batch.items()}
    finally:
        iterator.close()


def _read_ahead(
    dataset: Dataset, indices: Sequence[int], threads: int, check: CheckExample
) -> Iterator[tuple[int, Example]]:
    remaining = iter(indices)
    with ThreadPoolExecutor(threads) as pool:
        submit = lambda index: (index, pool.submit(checked_example, dataset, index, check))
        pending = deque(map(submit, islice(remaining, 2 * threads)))
        while pending:
            index, future = pending.popleft()
            pending.extend(map(submit, islice(remaining, 1)))
            yield index, future.result()


def _stack_indexed(group: Sequence[tuple[int, Example]]):
    indices, examples = zip(*group, strict=True)
    return indices, _stacked(examples, "image"), examples
