"""Options in words → outputs: class names, numbers, colours and pictures, all checked."""

import argparse
import csv
import difflib
import io
import math
import pathlib
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from PIL import ImageColor

from segjax.data.contents import digest
from segjax.data.images import read_image
from segjax.data.names import composed, inside
from segjax.errors import InputError
from segjax.outputs.kinds import (
    Background,
    Blur,
    CutOut,
    FileIds,
    Labelme,
    Mask,
    Output,
    Overlay,
    Probabilities,
)
from segjax.outputs.legend import Legend
from segjax.outputs.lists import Areas, Coco, Colour, ImageList

BACKGROUND = "background"
"""The class of this name is kept only where it is asked for, and has no regions in COCO."""

TOLERANCE = 1.0

MOST_ID = 65_535
"""The largest id in a PNG of 16 bits."""


def asked_outputs(
    options: argparse.Namespace,
    class_names: Sequence[str],
    *,
    file_ids: Callable[[], tuple[int, ...]] | None = None,
) -> list[Output]:
    """Returns the kinds of files that the options ask for; the mask is always first.

    `file_ids` gives the ids of the dataset's own files; None where it has no files.

    Raises:
      InputError: an option's value cannot be used, or nothing asked for uses it.
    """
    refuse_selection(options)
    outputs: list[Output] = [Mask()]
    if options.file_ids:
        if file_ids is None:
            raise InputError(
                "--file-ids: the experiment's eval_data is not read from files, so it has no "
                "other ids than the mask's; leave the option out."
            )
        outputs.append(FileIds(_writable(file_ids())))
    if options.overlay:
        outputs.append(Overlay())
    if options.probabilities:
        outputs.append(Probabilities())
    outputs += kept_outputs(options, class_names)
    if options.labelme:
        outputs.append(Labelme(_background_class(class_names), polygon_tolerance(options)))
    return outputs


def refuse_selection(options: argparse.Namespace) -> None:
    """Raises InputError where an option is given that chooses between objects.

    Raises:
      InputError: one is.
    """
    for name in ("score_above", "max_objects"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')} is for runs that find objects, but this one gives "
                "every pixel a class: leave it out."
            )


def _writable(ids: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the ids if a PNG can hold them.

    Raises:
      InputError: one is negative or has more than 16 bits.
    """
    if strange := [i for i in ids if not 0 <= i <= MOST_ID]:
        raise InputError(
            f"--file-ids: the dataset's files have the id {strange[0]}, but a PNG holds ids "
            f"from 0 to {MOST_ID}; leave the option out."
        )
    return ids


def asked_lists(
    options: argparse.Namespace, class_names: tuple[str, ...], colours: tuple[Colour, ...]
) -> list[ImageList]:
    """Returns the files about all images that the command's options ask for.

    Overlays have a legend. COCO's annotations leave out the class called background.

    Raises:
      InputError: an option's value cannot be used, or nothing asked for uses it.
    """
    lists: list[ImageList] = []
    if options.overlay:
        lists.append(Legend(class_names, colours))
    if options.areas:
        lists.append(Areas(class_names, colours))
    tolerance = polygon_tolerance(options)
    if options.coco:
        background = _background_class(class_names)
        regions = (index for index in range(len(class_names)) if index != background)
        lists.append(Coco(class_names, tuple(regions), tolerance))
    return lists


def kept_outputs(
    options: argparse.Namespace, class_names: Sequence[str], *, overlap: bool = False
) -> list[Output]:
    """Returns the outputs that change the background behind the classes of `--keep`.

    Of classes that `overlap`, one is kept: by itself, its probability is the foreground's.

    Raises:
      InputError: as `asked_outputs`, or several of the classes that overlap are to be kept.
    """
    if options.blur is None and options.background is None and not options.cut_out:
        if options.keep is not None:
            raise InputError("--keep needs --blur, --background or --cut-out; add one of them.")
        return []
    alone = overlap and len(class_names) == 1 and options.keep is None
    kept = (0,) if alone else kept_classes(class_names, options.keep)
    if overlap and len(kept) > 1:
        raise InputError(
            f"--keep: the classes {_listed(class_names)} may overlap; name the one to keep."
        )
    return _kept_outputs(options, kept)


def _kept_outputs(options: argparse.Namespace, kept: tuple[int, ...]) -> list[Output]:
    outputs: list[Output] = []
    if options.blur is not None:
        sigma = _number(options.blur, "--blur", "a number of pixels above 0, such as 8")
        if sigma <= 0:
            raise InputError(f"--blur {options.blur}: give a number of pixels above 0.")
        outputs.append(Blur(kept, sigma))
    if options.background is not None:
        outputs.append(_background(kept, options.background))
    if options.cut_out:
        outputs.append(CutOut(kept))
    return outputs


def polygon_tolerance(options: argparse.Namespace) -> float:
    """Returns pixels by which outlines of polygons are simplified."""
    if options.tolerance is None:
        return TOLERANCE
    if not (options.coco or options.labelme):
        raise InputError(
            "--tolerance is for the polygons of --coco or --labelme; add one of them."
        )
    pixels = _number(options.tolerance, "--tolerance", "a number of pixels, 0 or more")
    if pixels < 0:
        raise InputError(
            f"--tolerance {options.tolerance}: give a number of pixels, 0 or more."
        )
    return pixels


def _number(text: str, option: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{option} {text}: give {wanted}.")
    return number


def kept_classes(class_names: Sequence[str], given: Sequence[str] | None) -> tuple[int, ...]:
    """Returns ids of the classes that the `--keep` options name; None: all but background.

    Raises:
      InputError: a name is not a class, or no class is the background.
    """
    if given is None:
        background = _background_class(class_names)
        if background is None:
            raise InputError(
                f"There is no class {BACKGROUND}; name the classes to keep with --keep, from "
                f"{_listed(class_names)}."
            )
        return tuple(index for index in range(len(class_names)) if index != background)
    ids: dict[str, int] = {}
    for index, name in enumerate(class_names):
        ids.setdefault(composed(name), index)
    return tuple(sorted({ids[name] for text in given for name in _names(text, ids)}))


def _names(text: str, known: Collection[str]) -> list[str]:
    """Returns the class names in one `--keep`: one name, or several as in CSV."""
    if composed(text) in known:
        return [composed(text)]
    try:
        (fields,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        lines = text.splitlines()
        wrong = "it has several lines" if len(lines) > 1 else "a quotation mark is not closed"
        raise InputError(
            f"--keep {' '.join(lines)}: {wrong}; write a name that holds commas or "
            'quotation marks as in CSV, "a, ""b""", or alone.'
        ) from None
    return [_known(composed(name), known) for name in fields or [""]]


def _known(name: str, known: Collection[str]) -> str:
    for exact in (name, name.strip()):
        if exact in known:
            return exact
    by_case = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.strip().casefold(), by_case, n=3, cutoff=0.5)
    raise InputError(
        f"--keep {name.strip()}: there is no such class; near: "
        f"{_listed([by_case[other] for other in near] or known)}."
    )


def _listed(names: Iterable[str]) -> str:
    """Returns names as `--keep` takes them, in quotation marks where needed."""

    def field(name: str) -> str:
        text = io.StringIO()
        quoting = csv.QUOTE_MINIMAL if name == name.strip() else csv.QUOTE_ALL
        csv.writer(text, lineterminator="", quoting=quoting).writerow([name])
        return text.getvalue()

    return ", ".join(map(field, names))


def _background_class(class_names: Sequence[str]) -> int | None:
    """Returns the id of the class called background, or None."""
    return class_names.index(BACKGROUND) if BACKGROUND in class_names else None


def _background(kept: tuple[int, ...], given: str) -> Background:
    path = inside(pathlib.Path(), given)
    if path.is_file():
        picture = read_image(path, channels=3)
        named = (str(path.resolve()), digest(picture.tobytes())[:16])
        return Background(kept, named, picture)
    try:
        colour = ImageColor.getrgb(given)[:3]
    except ValueError:
        raise InputError(
            f"--background {given} is neither a file nor a colour such as white, '#20a0ff' or "
            "'rgb(32, 160, 255)'."
        ) from None
    return Background(kept, (given, ""), np.array(colour, np.uint8).reshape(1, 1, 3))
