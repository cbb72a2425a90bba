"""Tasks whose datasets have objects: what instance and panoptic segmentation share."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from segjax.conformity import check_has_objects, check_model
from segjax.contracts import IGNORE, Example, Loss, Model, WithObjects
from segjax.data.checks import check_example
from segjax.data.object_checks import check_objects
from segjax.errors import InputError
from segjax.tasks.class_coverage import known_early
from segjax.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class OfObjects(Task):
    """A task on objects (`segjax.objects`), which a network finds in images as a whole.

    `predicts` names in messages what it finds.
    """

    predicts: ClassVar[str] = "objects"

    def legend(self, data: WithObjects) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns names and colours of the classes."""
        return tuple(data.class_names), data.palette[: len(data.class_names)]

    def check_wrapper(self, wrapper: Callable) -> None:
        """Raises InputError: wrappers combine maps of classes, which have no objects.

        Raises:
          InputError: always.
        """
        raise InputError(
            f"evaluation.predictor: {wrapper!r} combines maps of classes, but "
            f"task={type(self).__name__} predicts {self.predicts}; leave it out."
        )

    def check_whole_images(
        self, wrappers: Sequence[Callable], *, split: tuple[int, int]
    ) -> None:
        """Raises InputError unless each image goes to one device, without wrappers.

        Raises:
          InputError: there are wrappers, or devices are to share an image.
        """
        for wrapper in wrappers:
            self.check_wrapper(wrapper)
        if split != (1, 1):
            raise InputError(
                f"split={split}: devices cannot share an image of task="
                f"{type(self).__name__}; set split=(1, 1)."
            )

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, WithObjects]
    ) -> None:
        """Raises InputError unless datasets have objects, and classes that agree.

        Raises:
          InputError: they do not.
        """
        check_model(model)
        for field, data in datasets.items():
            check_has_objects(data, field=field)
        for field in known_early(datasets):
            self.check_data(model, datasets, field=field)

    def check_data(
        self, model: Model, datasets: Mapping[str, WithObjects], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the classes of training data and network.

        Raises:
          InputError: classes or things differ.
        """
        data, first = datasets[field], datasets["train_data"]
        for name in ("class_names", "things"):
            ours, theirs = tuple(getattr(data, name)), tuple(getattr(first, name))
            if ours != theirs:
                raise InputError(
                    f"{field} and train_data must have the same {name}, but one has "
                    f"{short(ours)}, the other {short(theirs)}."
                )
        k = len(data.class_names)
        if model.num_classes != k:
            raise InputError(
                f"model.num_classes={model.num_classes}, but {field} has {k} classes; set "
                f"model.num_classes={k}."
            )
        if strange := [i for i in data.things if not 0 <= i < k]:
            raise InputError(
                f"{field}.things has {strange[0]}, but its classes are 0 to {k - 1}."
            )

    def check_example(
        self, example: Example, data: WithObjects, *, transformed: bool = False
    ) -> None:
        """Raises InputError unless image, class ids and objects fit one another.

        Transforms may have made maps of the objects, and left the objects out.
        """
        check_example(example, data.class_names, transformed=transformed)
        if not transformed or "boxes" in example:
            check_objects(example, data.class_names, data.things, transformed=transformed)

    def check_outputs(self, count: int, data: WithObjects, *, who: str) -> None:
        """Raises InputError unless the network tells as many classes apart as the data name."""
        if count != len(data.class_names):
            raise InputError(
                f"{who} predicts {count} classes, but eval_data has "
                f"{len(data.class_names)}; the numbers must agree."
            )

    def stand_in(self, shape: tuple[int, int, int], data: WithObjects) -> Example:
        """Returns a black image of one object before a class that is not counted."""
        height, width = shape[:2]
        others = [i for i in range(len(data.class_names)) if i not in data.things]
        label = np.full((height, width), (*others, IGNORE)[0], np.uint8)
        instances = np.zeros((height, width, 1), np.uint16)
        if data.things:
            label[: height // 2 + 1, : width // 2 + 1] = data.things[0]
            instances[: height // 2 + 1, : width // 2 + 1] = 1
        n = int(bool(data.things))
        return {
            "image": np.zeros(shape, np.uint8),
            "label": label,
            "name": "stand-in",
            "boxes": np.array([[0, 0, width // 2 + 1, height // 2 + 1]], np.float32)[:n],
            "classes": np.array(data.things[:1], np.int32),
            "instance_ids": np.arange(1, n + 1, dtype=np.int32),
            "crowd": np.zeros(n, bool),
            "instances": instances,
        }


def short(values: Sequence[Any]) -> str:
    """Returns values in words, of many the first ones.

    >>> short(range(7))
    '(0, 1, 2, 3, 4, … 7 in all)'
    """
    shown = ", ".join(map(str, values[:5]))
    return f"({shown}, … {len(values)} in all)" if len(values) > 5 else f"({shown})"
