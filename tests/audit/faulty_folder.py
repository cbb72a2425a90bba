"""A folder of images and masks with one fault of each sort, and its datasets."""

import pathlib

import numpy as np
from PIL import Image

from segjax.data.folder import Folder

NAMES = ("ground", "road", "car")
SIDE = 48


def picture(seed: int, *, side: int = SIDE) -> np.ndarray:
    """Returns smooth random shapes h w 3 that differ from those of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    fine = rng.integers(-20, 21, (side, side, 3))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int64)
    return (smooth + fine).clip(0, 255).astype(np.uint8)


def mask(seed: int = 0, *, side: int = SIDE) -> np.ndarray:
    """Returns a mask of the three classes and a row of 255."""
    label = np.zeros((side, side), np.uint8)
    label[side // 2 :] = 1
    label[: 4 + seed % 5, :6] = 2
    label[-1] = 255
    return label


def save(root: pathlib.Path, split: str, name: str, image=None, label=None) -> None:
    """Writes an image and its mask, or one of the two."""
    for folder, pixels in (("images", image), ("masks", label)):
        if pixels is not None:
            (root / folder / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / split / f"{name}.png")


def sound(root: pathlib.Path, split: str = "train", count: int = 3, first: int = 0) -> None:
    """Writes a split without faults."""
    for i in range(first, first + count):
        save(root, split, f"{i:03d}", picture(i), mask(i))


def datasets(root: pathlib.Path) -> dict[str, Folder]:
    """Returns both splits."""
    return {s: Folder(s, directory=str(root), class_names=NAMES) for s in ("train", "val")}


def faulty(root: pathlib.Path) -> dict[str, Folder]:
    """Writes two splits with a fault of each sort, and returns them."""
    sound(root)
    sound(root, "val", 2, first=50)
    strange = mask()
    strange[:2] = 7
    save(root, "train", "strange", picture(10), strange)
    save(root, "train", "small_mask", picture(11), mask(side=32))
    save(root, "train", "no_mask", picture(12))
    save(root, "train", "no_image", label=mask())
    save(root, "train", "empty_mask", picture(13), np.full((SIDE, SIDE), 255, np.uint8))
    save(root, "train", "one_class", picture(14), np.ones((SIDE, SIDE), np.uint8))
    save(root, "train", "broken", picture(15), mask())
    (root / "images/train/broken.png").write_bytes(b"no image")
    save(root, "train", "nothing", picture(16), mask())
    (root / "masks/train/nothing.png").write_bytes(b"")
    save(root, "val", "again", picture(0), mask(0))
    Image.fromarray(picture(1)).save(root / "images/val/near.jpg", quality=80)
    save(root, "val", "near", label=mask())
    save(root, "train", "twin", picture(2), mask(9))
    return datasets(root)
