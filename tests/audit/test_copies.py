"""Copies are found though they were compressed, resized or brightened; other images are not."""

import io
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segjax.audit.copies import near_copies
from segjax.audit.look import look_at
from segjax.data.synthetic import Synthetic

picture = runpy.run_path(str(pathlib.Path(__file__).with_name("faulty_folder.py")))["picture"]


def grey(image: np.ndarray) -> np.ndarray:
    example = {"image": image, "label": np.zeros(image.shape[:2], np.uint8), "name": "a"}
    return look_at(example, 0, classes=2, planes=False).grey


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


CHANGES = {
    "compressed": jpeg,
    "halved": lambda image: image.resize((32, 32), Image.Resampling.BILINEAR),
    "doubled": lambda image: image.resize((128, 128), Image.Resampling.BICUBIC),
    "squashed": lambda image: image.resize((64, 40), Image.Resampling.BILINEAR),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_other_images(change):
    images = [picture(seed, side=64) for seed in range(20)]
    changed = np.asarray(CHANGES[change](Image.fromarray(images[7])))
    assert near_copies(np.stack([grey(image) for image in [*images, changed]])) == [[7, 20]]


def test_images_of_one_kind_are_not_copies():
    data = Synthetic(size=64)
    assert near_copies(np.stack([grey(data[i]["image"]) for i in range(150)])) == []


def test_flat_images_and_images_that_share_a_gradient_alone_are_not_near_copies():
    rng = np.random.default_rng(0)
    gradient = np.linspace(60, 180, 64)[None, :, None]
    flat = [np.full((64, 64, 3), 90 + i, np.uint8) for i in range(3)]
    lit = [
        (gradient + 8 * rng.standard_normal((64, 64, 3))).clip(0, 255).astype(np.uint8)
        for _ in range(3)
    ]
    assert near_copies(np.stack([grey(image) for image in [*flat, *lit]])) == []


def test_groups_do_not_depend_on_how_many_images_are_compared_at_a_time(monkeypatch):
    images = [grey(picture(seed % 9, side=64)) for seed in range(27)]
    whole = near_copies(np.stack(images))
    monkeypatch.setattr("segjax.audit.copies.ROWS", 4)
    assert near_copies(np.stack(images)) == whole == [[i, i + 9, i + 18] for i in range(9)]
