"""`python -m segjax.convert SOURCE... --out DIR`: annotations of other tools → a dataset.

SOURCE is a folder with the files of an annotation tool, or one annotation file. The format is
recognised. The result is a folder with `images/`, `masks/` (palette PNGs of class ids),
`instances/` (PNGs of object ids), `classes.txt`, `splits/`, `instances.json`, a picture of the
labels, `summary.json`, and an experiment that is ready to train:

    python -m segjax.convert annotations/ --out dataset
    python -m segjax.launch dataset/experiment.py

Sources are only read. Run the same command again after you have added or corrected annotations:
it writes what has changed, and nothing else.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segjax.console import one_line, program
from segjax.errors import run_command
from segjax.restart import restart_as_needed

if TYPE_CHECKING:
    from segjax.convert.request import Request

OVERLAPS = ("order", "smaller", "ignore")
SHOWN = 6
"""Skipped images that are printed; all are in summary.json."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_as_needed()
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        interrupted="run the same command again to complete the folder.",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("convert"),
        description="Write a dataset from the files of an annotation tool: images, masks of "
        "class ids, objects, splits, and an experiment that is ready to train.",
        epilog="Example: python -m segjax.convert annotations --out dataset; then "
        "python -m segjax.launch dataset/experiment.py",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=pathlib.Path,
        metavar="SOURCE",
        help="folder with annotations, or an annotation file",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="DIR", help="folder of the dataset"
    )
    parser.add_argument(
        "--format", metavar="NAME", help="format of the sources (default: recognised)"
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        metavar="DIR",
        help="folder with the images, if they are not in SOURCE",
    )
    _add_classes(parser.add_argument_group("classes"))
    _add_masks(parser.add_argument_group("masks that do not name their classes"))
    parser.add_argument(
        "--overlap",
        choices=OVERLAPS,
        default="order",
        help="where regions overlap: order: a later one covers the earlier ones (default); "
        "smaller: a smaller object covers larger ones; ignore: the pixels become 255",
    )
    parser.add_argument(
        "--crowds",
        choices=("ignore", "class"),
        default="ignore",
        help="regions that cover several objects become 255 (default), or get their class",
    )
    parser.add_argument(
        "--split",
        metavar="TRAIN,VAL,TEST",
        help="shares such as 0.8,0.1,0.1; a hash of each name decides (default: the splits of "
        "the source, or else 0.8,0.2)",
    )
    parser.add_argument(
        "--link", action="store_true", help="hard-link the images instead of copying them"
    )
    parser.add_argument(
        "--skip-errors",
        action="store_true",
        help="leave out images with an error, and list them",
    )
    parser.add_argument(
        "--no-audit",
        action="store_true",
        help="do not look for wrong labels afterwards: copies in two splits, empty masks, ...",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _add_classes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--classes",
        metavar="A,B,…|FILE",
        help="classes to keep, in the order of their ids; others are not drawn",
    )
    group.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="A,B=NEW",
        help='make one class of several: "car,truck=vehicle"; repeat it for more',
    )
    group.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="A,B,…",
        help="classes whose pixels become 255, which does not count",
    )
    group.add_argument(
        "--attribute",
        metavar="NAME",
        help="attribute of regions that is their class, if they have several (VIA)",
    )


def _add_masks(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--names",
        metavar="A,B,…|FILE",
        help="names of the classes of ids 0, 1, 2, …; for Labelme and EISeg, the list of "
        "labels",
    )
    group.add_argument(
        "--values",
        metavar="VALUE:NAME,…",
        help='classes of grey values: "0:background,128:membrane,*:ignore"',
    )
    group.add_argument(
        "--colours", type=pathlib.Path, metavar="FILE", help="table of colours and classes"
    )


def _request(arguments: argparse.Namespace) -> "Request":
    from segjax.convert.annotated import Options
    from segjax.convert.classes import Choice, parsed_merges, parsed_names
    from segjax.convert.request import Request
    from segjax.convert.splitting import parsed_shares

    classes, names = arguments.classes, arguments.names
    return Request(
        sources=tuple(arguments.sources),
        out=arguments.out,
        format=arguments.format,
        options=Options(
            images=arguments.images,
            names=None if names is None else parsed_names(names, "--names"),
            values=arguments.values,
            colours=arguments.colours,
            crowds=arguments.crowds,
            attribute=arguments.attribute,
        ),
        choice=Choice(
            classes=None if classes is None else parsed_names(classes, "--classes"),
            merged=parsed_merges(arguments.merge),
            ignored=tuple(
                name for text in arguments.ignore for name in parsed_names(text, "--ignore")
            ),
        ),
        overlap=arguments.overlap,
        shares=None if arguments.split is None else parsed_shares(arguments.split),
        link=arguments.link,
        skip_errors=arguments.skip_errors,
    )


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.convert.auditing import audit_folder
    from segjax.convert.conversion import convert
    from segjax.train.log import Progress

    request = _request(arguments)
    bars: list[Progress] = []

    def update(done: int, total: int) -> None:
        if not bars:
            quiet = arguments.json
            bars.append(Progress("convert", first=0, total=total, unit="image", quiet=quiet))
        bars[0].update(done)

    summary = convert(request, update=update)
    for bar in bars:
        bar.close()
    if arguments.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print("\n".join(_lines(summary, request.out)))
        if not arguments.no_audit:
            print(f"\n{audit_folder(request.out, summary).brief}")
        train = f", then train: python -m segjax.launch {request.out / 'experiment.py'}"
        can_train = all(summary["splits"][side] for side in ("train", "val"))
        print(f"\nLook at {request.out / 'preview.png'}{train if can_train else ''}")


def _lines(summary: dict[str, Any], out: pathlib.Path) -> list[str]:
    """Returns the printed lines: what was read, classes, splits and notes."""
    formats = ", ".join(summary["made_by"]["formats"])
    changed = summary["changed"] or "none"
    return [
        f"{out}: {summary['images']} images from {formats}, {changed} of them new or changed",
        "",
        *_table(summary),
        "",
        "Splits: " + ", ".join(f"{n} {name}" for name, n in summary["splits"].items()),
        _overlaps(summary),
        *_objects(summary),
        *(one_line(f"Note: {note.rstrip('.')}.") for note in summary["notes"]),
        *_left(summary),
    ]


def _overlaps(summary: dict[str, Any]) -> str:
    """Returns what was done where regions overlap, and the other choice if it matters."""
    count, by_order = summary["overlapping_pixels"], summary["made_by"]["--overlap"] == "order"
    choice = (
        "; --overlap smaller draws smaller objects over larger ones"
        if count and by_order and not summary["mask_folders"]
        else ""
    )
    return f"Overlaps: {summary['overlaps']} ({count} pixels){choice}"


def _objects(summary: dict[str, Any]) -> list[str]:
    """Returns a line on how to train on single objects, where there are any."""
    if not summary["objects"] or summary["mask_folders"]:
        return []
    return [
        f"Objects: {summary['objects']}, in instances.json; to train a network that finds "
        'objects, read them with Folder(objects="instances.json", ...)'
    ]


def _left(summary: dict[str, Any]) -> list[str]:
    skipped, left = summary["skipped"], summary["left_over"]
    lines = [one_line(f"Skipped: {line}") for line in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"Skipped: {len(skipped) - SHOWN} more, listed in summary.json")
    if left:
        lines.append(
            f"{len(left)} files belong to images that the source no longer has (first "
            f"{left[0]}): delete them, or keep them; the splits do not name them."
        )
    return lines


def _table(summary: dict[str, Any]) -> list[str]:
    total = sum(each["pixels"] for each in summary["classes"].values())
    total += summary["ignored_pixels"]
    head = ("Class", "Images", "Regions", "Pixels", "Share")
    rows = [
        (
            f"{each['id']:3} {name}",
            *(str(each[key]) for key in ("images", "regions", "pixels")),
            f"{100 * each['pixels'] / max(total, 1):.2f} %",
        )
        for name, each in summary["classes"].items()
        if each["pixels"] or each["regions"]
    ]
    if ignored := summary["ignored_pixels"]:
        share = f"{100 * ignored / max(total, 1):.2f} %"
        rows.append(("255 ignored", "", "", str(ignored), share))
    first, *others = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    return [
        "  ".join([f"{row[0]:{first}}", *map(str.rjust, row[1:], others)])
        for row in (head, *rows)
    ]


if __name__ == "__main__":
    sys.exit(main())
