"""Two folders of masks, the truth and a prediction, to one confusion matrix; without a run."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from segjax import metrics
from segjax.announce import say
from segjax.contracts import IGNORE
from segjax.data.decode import DEFAULT_LIMIT, Limit, pages
from segjax.data.faults import raise_first
from segjax.data.file_pattern import FilePattern
from segjax.data.files import LOSSY, MASKS, by_stem, members, relative_stem
from segjax.data.label_map import LabelMap, check_label_map, classes_of
from segjax.data.masks import stored_samples
from segjax.data.names import near_entry, nearest
from segjax.errors import InputError, first_of

MOST_CLASSES = 4096
"""Whose confusion matrix takes 128 MiB; ids of instances go beyond it."""

SAID = 20
"""Pairs with an error of which a command says a line."""

VOID = -1
"""The ignored label while pixels are counted: class ids begin at 0, ignored ids may too."""


class MaskPair(NamedTuple):
    """The masks of one image: their common name, the true one and the predicted one."""

    name: str
    truth: pathlib.Path
    prediction: pathlib.Path


@dataclasses.dataclass(frozen=True, repr=False)
class MaskScores:
    """One confusion matrix over all images of two folders.

    Attributes:
      class_names: k names; ids as text where none were given.
      confusion: k × k pixels, row truth and column prediction.
      unclassified: k, pixels of each true class whose prediction is an ignored id.
      ignored: pixels whose truth is an ignored id; they are not counted anywhere else.
      images: how many were compared.
    """

    class_names: tuple[str, ...]
    confusion: Int64[np.ndarray, "k k"]
    unclassified: Int64[np.ndarray, " k"]
    ignored: int
    images: int

    def __repr__(self) -> str:
        score = self.scores()["mean_iou"]
        shown = "unknown" if score is None else f"{score:.4f}"
        return (
            f"MaskScores({self.images} images, {len(self.class_names)} classes, "
            f"mean IoU {shown})"
        )

    @property
    def _square(self) -> np.ndarray:
        """The matrix with one more class, which no pixel has and unclassified pixels get."""
        square = np.pad(self.confusion, (0, 1))
        square[:-1, -1] = self.unclassified
        return square

    @property
    def by_class(self) -> dict[str, np.ndarray]:
        """Score of each class, k; NaN where it would be 0 / 0."""
        right, square = np.diag(self.confusion), self._square
        truth, predicted = square.sum(1)[:-1], square.sum(0)[:-1]
        with np.errstate(invalid="ignore"):
            return {
                "iou": metrics.iou(square)[:-1],
                "accuracy": right / truth,
                "precision": right / predicted,
                "dice": 2 * right / (truth + predicted),
            }

    def scores(self) -> dict[str, Any]:
        """Returns all scores by name, as JSON can hold them; undefined ones are None.

        Names and values are those of a run's `evaluation.json`. An unclassified pixel counts
        as an error of its true class and lowers no other class.
        """
        square, by_class = self._square, self.by_class
        present = metrics.occurring(square)[:-1]
        with_names = lambda values: dict(zip(self.class_names, values, strict=True))
        return {
            "images": self.images,
            "mean_iou": _number(by_class["iou"][present].mean() if present.any() else np.nan),
            "pixel_accuracy": _number(metrics.pixel_accuracy(square)),
            "mean_accuracy": _number(metrics.mean_accuracy(square)),
            "frequency_weighted_iou": _number(metrics.frequency_weighted_iou(square)),
            "mean_iou_over_true_classes": _number(metrics.mean_iou_over_true_classes(square)),
            "classes": len(self.class_names),
            "classes_in_mean_iou": int(present.sum()),
            "classes_with_truth": int(metrics.with_truth(square).sum()),
            **{key: with_names(map(_number, each)) for key, each in by_class.items()},
            "pixels": with_names(square.sum(1)[:-1].tolist()),
            "ignored_pixels": self.ignored,
            "unclassified_pixels": int(self.unclassified.sum()),
            "confusion": self.confusion.tolist(),
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def score_folders(
    truth: str | pathlib.Path, prediction: str | pathlib.Path, **options: Any
) -> MaskScores:
    """Returns the scores of a folder of predicted masks against a folder of true ones.

    `options` are those of `score_pairs`.

    Raises:
      InputError: as `pair_masks` and `score_pairs`.
    """
    pairs, _ = pair_masks(truth, prediction)
    return score_pairs(pairs, **options)


def pair_masks(
    truth: str | pathlib.Path, prediction: str | pathlib.Path
) -> tuple[list[MaskPair], list[pathlib.Path]]:
    """Returns the pairs in order of their names, and the predictions that have no truth.

    Masks belong together by their path below the folder, without its suffix. Where names
    differ, a pattern says so: "gtFine/{stem}_labelTrainIds.png".

    Raises:
      InputError: a folder is missing, there is no true mask, or one has no prediction.
    """
    true_masks, predicted = _masks(truth), _masks(prediction)
    if not true_masks:
        raise InputError(f"{truth} holds no mask ({' '.join(MASKS)}); check the path.")
    if missing := sorted(true_masks.keys() - predicted.keys()):
        raise InputError(_missing(missing, true_masks, predicted, prediction))
    pairs = [MaskPair(name, true_masks[name], predicted[name]) for name in sorted(true_masks)]
    return pairs, [predicted[name] for name in sorted(predicted.keys() - true_masks.keys())]


def _masks(given: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the masks of a folder, or of a pattern of names, by the stem of their image."""
    pattern = _pattern(given)
    folder = pathlib.Path(pattern.folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}{near_entry(folder)}; check the path.")
    found = by_stem(folder, pattern.suffixes, fits=lambda name: pattern.stem(name) is not None)
    return {str(pattern.stem(name)): path for name, path in found.items()}


def _pattern(given: str | pathlib.Path) -> FilePattern:
    text = pathlib.PurePath(given).as_posix()
    if "{stem" in text:
        return FilePattern.of(text, MASKS, field="mask")
    return FilePattern(text, suffixes=MASKS)


def _missing(
    names: Sequence[str],
    truth: dict[str, pathlib.Path],
    predicted: dict[str, pathlib.Path],
    where: str | pathlib.Path,
) -> str:
    """Returns the line that names true masks without a prediction, and what lies near."""
    pattern = _pattern(where)
    folder = pathlib.Path(pattern.folder)
    wanted = pattern.name(names[0])
    others = {relative_stem(path, folder): path for path in members(folder, LOSSY)}
    free = {str(path): relative_stem(path, folder) for path in members(folder, MASKS)}
    used = {str(path) for name, path in predicted.items() if name in truth}
    near = nearest(wanted, {path: name for path, name in free.items() if path not in used})
    if wanted in others:
        hint = f"; {others[wanted].name} is compressed with loss, which changes ids: use PNG"
    elif near:
        hint = (
            f'; there is {near[0]} ({near[1]}): a pattern such as "{folder}/{{stem}}_pred.png" '
            "says how names differ"
        )
    else:
        hint = ""
    return (
        f"{where} has no prediction for {len(names)} of {len(truth)} masks: "
        f"{first_of(names, most=4)}{hint}. Add them, or move their truth away."
    )


def score_pairs(
    pairs: Sequence[MaskPair],
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    ignore: Collection[int] | None = None,
    label_map: LabelMap = (),
    limit: Limit = DEFAULT_LIMIT,
    progress: Callable[[int], None] = lambda done: None,
    each: Callable[[np.ndarray, np.ndarray], None] = lambda truth, prediction: None,
) -> MaskScores:
    """Returns the scores of pairs of masks, from one confusion matrix over all of them.

    Args:
      pairs: the files, which may hold several pages each.
      class_names: of the ids 0, 1, …; without them and `num_classes` the largest id that
        occurs is the last class.
      num_classes: k, where the classes have no names.
      ignore: ids that are no class, after `label_map`. A pixel whose truth is one of them is
        not counted; one that is only predicted so is an error of its true class. None: 255,
        unless it looks like the white of black-and-white masks, which is refused.
      label_map: changes ids of both folders first, as `data.folder.Folder` does.
      limit: the largest mask that is read.
      progress: called with the number of pairs done.
      each: called with the true and the predicted class ids h w of each image; -1 is no class.

    Raises:
      InputError: a file cannot be read or holds what is no class, or the masks of a pair differ
        in size or number. A score without these images would be another one. All pairs are read
        before the first such error is raised; a command says those of the next pairs too.
    """
    count = num_classes if class_names is None else len(class_names)
    if count is not None and not 2 <= count <= MOST_CLASSES:
        raise InputError(
            f"The number of classes must be 2 to {MOST_CLASSES}, got {count}; background is a "
            "class too."
        )
    check_label_map(label_map, MOST_CLASSES if count is None else count)
    reader = _Reader(count, (IGNORE,) if ignore is None else tuple(ignore), label_map, limit)
    size = (count or 1) + 1
    counts, ignored = np.zeros((size, size), np.int64), 0
    problems: list[str] = []
    for done, pair in enumerate(pairs, 1):
        with _noted(problems):
            for truth, prediction in reader.pages(pair):
                largest = max(int(truth.max(initial=0)), int(prediction.max(initial=0)))
                counts = np.pad(counts, (0, max(0, largest + 2 - len(counts))))
                ignored += int((truth == VOID).sum())
                counts += _counted(truth, prediction, len(counts))
                each(truth, prediction)
        progress(done)
    for problem in problems[1:SAID]:
        say(problem)
    raise_first(problems)
    if ignore is None and classes_of([IGNORE], label_map) == [IGNORE]:
        reader.check_whites(len(counts) - 1)
    if len(counts) < 3:
        raise InputError(
            "No id above 0 occurs that is not ignored, so the classes are not known; give "
            "--classes N."
        )
    names = map(str, range(len(counts) - 1)) if class_names is None else class_names
    return MaskScores(tuple(names), counts[1:, 1:], counts[1:, 0], ignored, len(pairs))


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Notes an InputError in the block."""
    try:
        yield
    except InputError as error:
        problems.append(str(error))


def _counted(truth: np.ndarray, prediction: np.ndarray, size: int) -> np.ndarray:
    """Returns pixels by (true class + 1, predicted class + 1); column 0 has no prediction."""
    shifted = np.where(truth == VOID, VOID, truth + 1)
    return np.asarray(metrics.confusion_matrix(shifted, prediction + 1, size, ignore=VOID))


class _Reader:
    """Reads masks as class ids and `VOID`, and remembers where 255 looked like white."""

    def __init__(
        self, count: int | None, ignore: Sequence[int], label_map: LabelMap, limit: Limit
    ):
        self._count, self._ignore, self._map, self._limit = count, ignore, label_map, limit
        self._white: dict[int, pathlib.Path] = {}
        self._void: set[int] = set()

    def pages(self, pair: MaskPair) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Returns the true and the predicted class ids h w of each page of two files."""
        files = (pair.truth, pair.prediction)
        for truth, prediction in zip_longest(*map(self._samples, files)):
            if truth is None or prediction is None:
                raise InputError(
                    f"{pair.prediction} and {pair.truth} hold different numbers of images; "
                    "save as many in each."
                )
            if truth.shape != prediction.shape:
                (h, w), (height, width) = prediction.shape, truth.shape
                raise InputError(
                    f"{pair.prediction} is {w}x{h} pixels, but {pair.truth} is {width}x"
                    f"{height}; a prediction must have the size of its truth."
                )
            yield self._ids(truth, pair.truth, 0), self._ids(prediction, pair.prediction, 1)

    def _samples(self, path: pathlib.Path) -> Iterator[np.ndarray]:
        for page in pages(path, name=path, limit=self._limit):
            yield stored_samples(page, path)

    def _ids(
        self, samples: Integer[np.ndarray, "h w"], path: pathlib.Path, side: int
    ) -> Int64[np.ndarray, "h w"]:
        present = np.unique(samples)
        stored = present.tolist()
        classes = classes_of(stored, self._map)
        if IGNORE in stored:
            self._white.setdefault(side, path)
            if {*stored} - {0, IGNORE}:
                self._void.add(side)
        most = MOST_CLASSES if self._count is None else self._count
        is_class = [0 <= each < most and each not in self._ignore for each in classes]
        strange = [
            i
            for i, each, known in zip(stored, classes, is_class, strict=True)
            if not known and each not in self._ignore
        ]
        if strange:
            raise InputError(self._strange(path, strange, most))
        ids = np.where(is_class, np.array(classes, np.int64), VOID)
        return ids[np.searchsorted(present, samples)]

    def _strange(self, path: pathlib.Path, ids: Sequence[int], most: int) -> str:
        shown = first_of([str(i) for i in ids])
        ignored = ", ".join(map(str, self._ignore))
        head = f"{path} has the ids {shown}, but the {most} classes have ids 0 to {most - 1}"
        if self._count is None:
            head = f"{path} has the ids {shown}, and class ids are 0 to {most - 1}"
        remedy = "correct --classes or --names, or change the ids with --label-map ID=CLASS"
        if self._count == 2:
            half = max(*ids, 1) // 2
            remedy = (
                f"change the ids with --label-map, for example {ids[-1]}=1, or for grey levels "
                f'">{half}=1,else=0"'
            )
        return f"{head} (ignored: {ignored or 'none'}); {remedy}."

    def check_whites(self, count: int) -> None:
        """Raises InputError where 255 is never beside another class than 0, so may be one."""
        for side in sorted(self._white.keys() - self._void):
            if count <= 2:
                raise InputError(
                    f"{self._white[side]} holds 255, which is ignored, but here it looks like "
                    "the white of a black-and-white mask. If white is class 1, add --label-map "
                    "255=1; if 255 is void, add --ignore 255."
                )
