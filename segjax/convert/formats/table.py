"""The formats that `convert` reads, and which of them a source is in."""

from collections.abc import Sequence

from segjax.convert.annotated import Format, SourceFiles
from segjax.convert.formats import (
    ade20k_layout,
    cityscapes_layout,
    coco_instances,
    coco_panoptic,
    coco_stuff,
    colour_masks,
    cvat_images,
    cvat_video,
    eiseg,
    grey_masks,
    instance_masks,
    labelme,
    labelme_xml,
    plane_masks,
    sbd,
    via,
    voc_layout,
    yolo_seg,
)
from segjax.data.names import nearest
from segjax.errors import InputError

RANKS: tuple[tuple[Format, ...], ...] = (
    # EISeg writes a COCO file and masks beside its own files.
    (eiseg.EISEG,),
    (labelme.LABELME,),
    # One archive of COCO has them side by side; which is wanted, only its user knows.
    (
        coco_instances.COCO_INSTANCES,
        coco_panoptic.COCO_PANOPTIC,
        coco_stuff.COCO_STUFF,
        coco_stuff.COCO_STUFF_MAPS,
    ),
    (sbd.SBD_FILES,),
    (
        cvat_images.CVAT_IMAGES,
        cvat_video.CVAT_VIDEO,
        via.VIA,
        labelme_xml.LABELME_XML,
        yolo_seg.YOLO_SEG,
    ),
    (
        voc_layout.VOC_LAYOUT,
        cityscapes_layout.CITYSCAPES_LAYOUT,
        ade20k_layout.ADE20K_FULL,
        ade20k_layout.SCENE_PARSE_150,
    ),
    (instance_masks.INSTANCE_MASKS,),
    # All masks are grey masks, unless something says more of them.
    (plane_masks.PLANE_MASKS,),
    (colour_masks.COLOUR_MASKS,),
    (grey_masks.GREY_MASKS,),
)
"""The formats by rank, in order of recognition.

A format of an earlier rank wins over those of later ones: these are made from it, or are less
specific. Two formats of one rank in one source are refused.
"""


def formats() -> list[Format]:
    """Returns all formats, in order of recognition."""
    return [each for rank in RANKS for each in rank]


def format_named(name: str) -> Format:
    """Returns the format that `--format` names.

    Raises:
      InputError: there is no such format.
    """
    by_name = {each.name: each for each in formats()}
    if name not in by_name:
        close = nearest(name, {each: each for each in by_name})
        near = f" Did you mean {close[0]}?" if close else ""
        raise InputError(
            f"--format {name}: there is no such format.{near} The formats are "
            f"{', '.join(by_name)}."
        )
    return by_name[name]


def recognized(files: SourceFiles) -> tuple[Format, str]:
    """Returns the format of a source, and what gives it away.

    Raises:
      InputError: it is in none of the formats, or in two of one rank.
    """
    problems: list[InputError] = []
    for rank in RANKS:
        signs = [(each, _sign(each, files, problems)) for each in rank]
        found = [(each, sign) for each, sign in signs if sign is not None]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(_several(files, found))
    raise problems[0] if problems else InputError(_unknown(files))


def _sign(format_: Format, files: SourceFiles, problems: list[InputError]) -> str | None:
    """Returns what gives a format away; what is wrong with it goes to `problems`.

    A source that is wrong for one format may be right for a later one.
    """
    try:
        return format_.recognize(files)
    except InputError as error:
        problems.append(error)
        return None


def _several(files: SourceFiles, found: Sequence[tuple[Format, str]]) -> str:
    signs = " and ".join(sign for _, sign in found)
    names = " or ".join(f"--format {each.name}" for each, _ in found)
    return f"{files.root} has {signs}: choose which to read with {names}."


def _unknown(files: SourceFiles) -> str:
    names = ", ".join(each.name for each in formats())
    for path in files.find(".json"):
        try:
            files.json(path)
        except InputError as error:
            return f"{error} (No other annotations of a known format are in {files.root}.)"
    return (
        f"{files.root} has no annotations of a known format: give the folder with the "
        f"annotation files, or force a format with --format ({names})."
    )
