"""segjax's side of `loader.py`: a case a line, then batches as often as it is told."""

import itertools
import json
import sys
import time

from loader_memory import memory_mib

from segjax.data.camvid import CamVid
from segjax.data.loader import batches
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.scale_crop import RandomScaleCrop

READ_AHEAD = 30
"""More batches than either loader reads ahead."""


def main() -> None:
    iterator, size = (_ for _ in ()), 0
    for line in sys.stdin:
        case = json.loads(line)
        if "run" in case:
            print(json.dumps(run(iterator, case["run"], size)), flush=True)
        else:
            size = case.get("batch", 8)
            iterator = opened(case, size)
            next(iterator)
            print(json.dumps({"ready": True}), flush=True)
    iterator.close()


def opened(case, size):
    """Returns the batches of a case, without end."""
    smallest, largest = (case["scale"],) * 2 if "scale" in case else (0.5, 2.0)
    transforms = (
        RandomScaleCrop(case.get("crop", 321), smallest, largest),
        RandomFlip(),
        *([ColorJitter(0.5, 0.5, 0.5)] if case["colour"] else []),
    )
    return batches(
        CamVid(directory=case["data"]),
        transforms,
        batch_size=size,
        seed=0,
        threads=case["threads"],
        buffer=4,
        workers=case["workers"],
    )


def run(iterator, count, size):
    """Returns images a second over `count` batches, and the largest memory on the way.

    Batches that were read ahead while another side worked are taken before.
    """
    for _ in range(READ_AHEAD):
        next(iterator)
    memory, start, taken = memory_mib(), time.perf_counter(), 0.0
    for number, batch in enumerate(itertools.islice(iterator, count)):
        assert batch["image"].dtype == "uint8"
        if number % max(count // 5, 1) == 0:
            pause = time.perf_counter()
            memory = max(memory, memory_mib())
            taken += time.perf_counter() - pause
    seconds = time.perf_counter() - start - taken
    return {"images_per_second": count * size / seconds, "memory_mib": memory}


if __name__ == "__main__":
    main()
