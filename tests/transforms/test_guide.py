"""The guide and the reference name every transform of the package."""

import dataclasses
import importlib
import inspect
import pathlib

import pytest

import segjax.transforms

ROOT = pathlib.Path(segjax.transforms.__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "segjax" / "transforms").glob("[!_]*.py"))


def transforms_of(stem):
    """Returns the dataclasses of a module that take an example and a generator."""
    module = importlib.import_module(f"segjax.transforms.{stem}")
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    return [
        cls
        for cls in own
        if dataclasses.is_dataclass(cls)
        and list(inspect.signature(cls.__call__).parameters)[1:3] == ["example", "rng"]
    ]


ALL = [(stem, cls) for stem in MODULES for cls in transforms_of(stem)]


def test_the_transforms_are_found():
    names = {cls.__name__ for _, cls in ALL}
    assert {"RandomCrop", "Mosaic", "Declare", "Albumentations", "RandAugment"} <= names
    assert len(ALL) > 25


@pytest.mark.parametrize(("stem", "cls"), ALL, ids=lambda v: getattr(v, "__name__", v))
def test_the_guide_and_the_reference_name_it(stem, cls):
    guide = (ROOT / "docs" / "guides" / "augmentation.md").read_text(encoding="utf-8")
    assert f"`{cls.__name__}`" in guide or f"`{stem}.{cls.__name__}`" in guide
    reference = (ROOT / "docs" / "reference" / "transforms.md").read_text(encoding="utf-8")
    assert f"::: segjax.transforms.{stem}\n" in reference


@pytest.mark.parametrize(("stem", "cls"), ALL, ids=lambda v: getattr(v, "__name__", v))
def test_it_is_frozen_and_moves_no_state(stem, cls):
    assert cls.__dataclass_params__.frozen
    named = cls.__name__.startswith("Random") and cls.__name__ not in ALWAYS
    assert not named or "probability" in {field.name for field in dataclasses.fields(cls)}


ALWAYS = ("RandomScale", "RandomCrop", "RandomScaleCrop", "RandomRotate90")
"""Drawn anew for every example."""
