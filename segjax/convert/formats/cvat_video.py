"""CVAT's XML for videos: tracks of shapes between keyframes, and extracted frames."""

import bisect
import collections
import pathlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from segjax.convert.annotated import (
    Annotated,
    Annotations,
    Options,
    Size,
    SourceFiles,
)
from segjax.convert.cvat import MOST_TRIED, Labels, add_labels, documents, points, regions
from segjax.convert.documents import child_text, read_xml
from segjax.convert.image_files import each_image, image_name
from segjax.convert.outlines import numbers
from segjax.data.files import IMAGES
from segjax.errors import InputError

CORNERS = ("xtl", "ytl", "xbr", "ybr", "cx", "cy", "rx", "ry", "rotation")

_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class CvatVideo:
    """`<track>` elements; between two keyframes a shape moves as CVAT shows it.

    Boxes and ellipses move linearly, and so do polygons of as many points. A polygon whose
    number of points changes, and a mask, stays until the next keyframe.
    """

    name: str = "cvat-video"
    title: str = "CVAT XML for videos"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the name of the first of CVAT's files for videos, or None."""
        found = list(documents(files, "track", most=MOST_TRIED))
        return f"CVAT XML for videos ({found[0].name})" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns every frame whose image is there.

        Raises:
          InputError: the file is not complete, there are several, or no frame's image is
            there.
        """
        del options
        found = list(documents(files, "track"))
        if len(found) != 1:
            raise InputError(
                f"{files.root} has {len(found)} CVAT files for videos, and frames of one video "
                "are numbered: give each video's folder by itself."
            )
        path, labels = found[0], Labels()
        root = read_xml(path)
        add_labels(root, labels)
        frames = _frames(files, path, root)
        shapes = collections.defaultdict(list)
        for track in root.iterfind("track"):
            for frame, shape in _shown(track, frames, path):
                shapes[frame].append(shape)
        size = _size(root, path)

        def image(frame: int) -> Annotated:
            """Returns the annotated image of a frame."""
            where = f"{path}, frame {frame}"
            return Annotated(
                image=frames[frame],
                name=image_name(frames[frame], files),
                regions=regions(shapes[frame], labels, where=where),
                size=size,
                where=where,
            )

        images, problems = each_image(sorted(frames), image)
        return Annotations(
            images,
            labels.class_names,
            colours=labels.known_colours,
            notes=labels.notes(),
            problems=problems,
        )


def _frames(files: SourceFiles, path: pathlib.Path, root: Element) -> dict[int, pathlib.Path]:
    """Returns {number of the frame: its image}, by the digits at the end of files' names."""
    frames: dict[int, pathlib.Path] = {}
    for image in files.find(*IMAGES):
        if match := _NUMBER.search(image.stem):
            frame = int(match[1])
            if frame in frames:
                raise InputError(
                    f"{frames[frame]} and {image} are both frame {frame}: keep one of them."
                )
            frames[frame] = image
    if not frames:
        video = child_text(root, "meta/source", default="VIDEO")
        raise InputError(
            f"{path} has tracks, but there are no images of its frames: extract them with "
            f"ffmpeg -i {video} -start_number 0 images/frame_%06d.png, or give --images DIR."
        )
    return frames


def _size(root: Element, path: pathlib.Path) -> Size | None:
    element = root.find("meta/*/original_size")
    if element is None:
        return None
    sides = [child_text(element, "height"), child_text(element, "width")]
    return Size(*map(int, numbers(sides, where=f"{path}, original_size,")))


def _shown(
    track: Element, frames: Iterable[int], path: pathlib.Path
) -> Iterator[tuple[int, Element]]:
    """Yields (frame, the track's shape in it) for each frame that shows the track."""
    where = f"{path}, track {track.get('id', '?')}"
    found = {_frame(shape, where): shape for shape in track if "frame" in shape.attrib}
    keys = sorted(found)
    for frame in frames:
        place = bisect.bisect_right(keys, frame)
        if not place or found[keys[place - 1]].get("outside") == "1":
            continue
        left, right = keys[place - 1], keys[min(place, len(keys) - 1)]
        share = (frame - left) / (right - left) if right > left else 0.0
        attributes = _between(found[left], found[right], share, where)
        attributes["label"] = track.get("label", "")
        attributes["track_id"] = f"{track.get('id', '?')} of {track.get('label')}"
        yield frame, Element(found[left].tag, attributes)


def _between(left: Element, right: Element, share: float, where: str) -> dict[str, str]:
    """Returns the attributes of a shape on the way from one keyframe to the next."""
    attributes = dict(left.attrib)
    if not share or left.tag != right.tag:
        return attributes
    for name in CORNERS:
        if name in left.attrib and name in right.attrib:
            start, end = numbers([left.attrib[name], right.attrib[name]], where=where)
            turn = (end - start + 180) % 360 - 180 if name == "rotation" else end - start
            attributes[name] = repr(start + share * turn)
    if "points" in left.attrib:
        start, end = points(left, where), points(right, where)
        if len(start) == len(end):
            moved = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
            attributes["points"] = ",".join(map(repr, moved))
    return attributes


def _frame(shape: Element, where: str) -> int:
    return int(numbers([shape.attrib["frame"]], where=f"{where}, frame,")[0])


CVAT_VIDEO = CvatVideo()
