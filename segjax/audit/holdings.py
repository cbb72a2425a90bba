"""What a dataset holds: images, sizes, kinds of files, pixels and images of each class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segjax.audit.look import Look
from segjax.audit.objects import ObjectCounts, object_counts
from segjax.class_weights import ClassCounts
from segjax.data.class_counts import sum_counts


@dataclass(frozen=True)
class Holdings:
    """What was counted in a dataset.

    Attributes:
      dataset: the name of its class, such as "Folder".
      total: examples that there are.
      read: examples that could be read, and were.
      complete: whether every example was looked at, though some may be broken.
      sizes: {(width, height): images}.
      channels: {channels: images}.
      image_files, mask_files: {how they are stored: files}.
      class_names: of the classes.
      counts: of each class.
      pixels: of all labels, ignored ones and unknown ids too; of planes, of all planes.
      ignored: how many of them are 255.
      unknown: {id: pixels} of ids that are not classes.
      label_map: (ids in the files, class id or 255), where the dataset has one.
      objects: counts of them, where examples have any.
    """

    dataset: str
    total: int
    read: int
    complete: bool
    sizes: Mapping[tuple[int, int], int]
    channels: Mapping[int, int]
    image_files: Mapping[str, int]
    mask_files: Mapping[str, int]
    class_names: tuple[str, ...]
    counts: ClassCounts
    pixels: int
    ignored: int
    unknown: Mapping[int, int]
    label_map: tuple[tuple[int | str, int], ...] = ()
    objects: ObjectCounts | None = None

    @property
    def aspects(self) -> tuple[float, float] | None:
        """The smallest and the largest width divided by height; None without images."""
        ratios = [width / height for width, height in self.sizes if height]
        return (min(ratios), max(ratios)) if ratios else None


def holdings(
    looks: Sequence[Look],
    *,
    dataset: str,
    total: int,
    complete: bool,
    class_names: Sequence[str],
    planes: bool,
    label_map: tuple[tuple[int | str, int], ...] = (),
) -> Holdings:
    """Returns what the examples that were read hold together."""
    k = len(class_names)
    counts = sum_counts([look.counts for look in looks], classes=k, planes=planes)
    unknown: Counter[int] = Counter()
    for look in looks:
        unknown.update(look.counts.unknown)
    objects = [look.objects for look in looks if look.objects is not None]
    return Holdings(
        dataset,
        total,
        len(looks),
        complete,
        dict(sorted(Counter((look.size[1], look.size[0]) for look in looks).items())),
        dict(sorted(Counter(look.channels for look in looks).items())),
        dict(Counter(look.files[0] for look in looks).most_common()),
        dict(Counter(kind for look in looks for kind in look.files[1:]).most_common()),
        tuple(class_names),
        counts,
        sum(look.counts.area for look in looks) * (k if planes else 1),
        sum(sum(look.counts.ignored) for look in looks),
        dict(sorted(unknown.items())),
        label_map,
        object_counts(objects, classes=k) if objects else None,
    )
