"""Scores of a network on a dataset, at each image's own size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from segjax.contracts import Dataset, Variables
from segjax.data.loader import equal_size_batches
from segjax.evaluate.compiled import HostPredictor
from segjax.tasks.task import Metric, Task


class Scorer:
    """Scores variables on a dataset, whose images are not resized."""

    def __init__(
        self, task: Task, predictor: HostPredictor, dataset: Dataset, *, batch_size: int
    ):
        self._task, self._predictor = task, predictor
        self._dataset, self._batch_size = dataset, batch_size

    def predictions(self, variables: Variables, images: np.ndarray) -> Any:
        """For each of the images b h w c of one size what the task's metric takes."""
        return self._task.predict(self._predictor, variables, images)

    def __call__(
        self,
        variables: Variables,
        *,
        share: tuple[int, int] = (0, 1),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Metric:
        """The metric of all images.

        Args:
          variables: of the network.
          share: (i, n): this process predicts every n-th image from the i-th; what is counted
            is put together over the n processes.
          progress: called with (images done, images of this share).
        """
        total = len(self._dataset)
        indices = range(share[0], total, share[1])
        metric, done = self._task.metric(self._dataset), 0
        check = partial(self._task.check_example, data=self._dataset)
        for group, images, examples in equal_size_batches(
            self._dataset, indices, self._batch_size, check=check
        ):
            predictions = self.predictions(variables, images)
            for index, example, prediction in zip(group, examples, predictions, strict=True):
                metric.add(int(index), example, prediction)
            done += len(group)
            progress(done, len(indices))
        metric.merge(total)
        return metric
