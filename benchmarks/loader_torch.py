"""PyTorch's side of `loader.py`: the same lines in, the same lines out as `loader_segjax.py`.

The transforms are torchvision's v2. Batches stay uint8, as segjax sends them to the device.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
import torch_networks
from loader_memory import memory_mib
from PIL import Image

torch_networks.declare_operators()

from torchvision import tv_tensors  # noqa: E402 (needs the operators)
from torchvision.transforms import InterpolationMode, v2  # noqa: E402

HEIGHT, WIDTH = 360, 480
READ_AHEAD = 30
"""More batches than either loader reads ahead."""


class Pairs(torch.utils.data.Dataset):
    """CamVid's training pairs, decoded by Pillow and transformed together."""

    def __init__(self, root, transform):
        self.root, self.transform = pathlib.Path(root), transform
        self.names = (self.root / "train.txt").read_text().split()

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        name = pathlib.PurePosixPath(self.names[index]).stem
        image = Image.open(self.root / "train" / f"{name}.jpg").convert("RGB")
        mask = np.array(Image.open(self.root / "trainannot" / f"{name}.png"))
        mask[mask == 11] = 255
        image = tv_tensors.Image(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(mask))
        image, mask = self.transform(image, mask)
        # A mask that was padded and one that was not do not stack as subclasses alike.
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)


def transform_of(case):
    colour = [v2.ColorJitter(0.5, 0.5, 0.5)] if case["colour"] else []
    return v2.Compose(
        [
            v2.ScaleJitter(
                (HEIGHT, WIDTH),
                scale_range=(0.5, 2.0),
                interpolation=InterpolationMode.BILINEAR,
                antialias=True,
            ),
            v2.RandomCrop(
                321,
                pad_if_needed=True,
                fill={tv_tensors.Image: (124, 116, 104), tv_tensors.Mask: 255},
            ),
            v2.RandomHorizontalFlip(),
            *colour,
        ]
    )


def endless(loader):
    while True:
        yield from loader


def main() -> None:
    # One thread an image, as workers have it: otherwise threads fight for the cores.
    torch.set_num_threads(1)
    iterator, size = iter(()), 8
    for line in sys.stdin:
        case = json.loads(line)
        if "run" in case:
            print(json.dumps(run(iterator, case["run"], size)), flush=True)
            continue
        workers = case["workers"]
        if not workers:
            torch.set_num_threads(2)
        loader = torch.utils.data.DataLoader(
            Pairs(case["data"], transform_of(case)),
            batch_size=size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=bool(workers),
            prefetch_factor=4 if workers else None,
        )
        iterator = endless(loader)
        next(iterator)
        print(json.dumps({"ready": True}), flush=True)


def run(iterator, count, size):
    """Returns images a second over `count` batches, and the largest memory on the way.

    Batches that were read ahead while another side worked are taken before.
    """
    for _ in range(READ_AHEAD):
        next(iterator)
    memory, start, taken = memory_mib(), time.perf_counter(), 0.0
    for number in range(count):
        image, _ = next(iterator)
        assert image.dtype == torch.uint8
        if number % max(count // 5, 1) == 0:
            pause = time.perf_counter()
            memory = max(memory, memory_mib())
            taken += time.perf_counter() - pause
    seconds = time.perf_counter() - start - taken
    return {"images_per_second": count * size / seconds, "memory_mib": memory}


if __name__ == "__main__":
    main()
