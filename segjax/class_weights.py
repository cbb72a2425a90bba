"""Weights of classes from their pixels: rules that an experiment names instead of numbers.

`loss=losses.ClassWeightedCrossEntropy(weights=MedianFrequency())` computes its weights from the
training data when the run starts. From then on they are numbers: the description of the run has
them, so other data in the same workdir are noticed.

A class that no pixel has gets the weight 0, and takes part in no median, mean or sum.
"""

import abc
import dataclasses
import math

import numpy as np

from segjax.errors import InputError

DIGITS = 6
"""Significant digits of a weight."""


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """How many pixels and images of the training labels have each class.

    Attributes:
      pixels: of each class; of planes, the pixels that are 1.
      images: that contain the class.
      pixels_of_images: all pixels, ignored ones too, of the images that contain the class.
      counted: pixels that are not ignored: of the whole label, or of the class's own plane.
      planes: whether each class has a plane of its own, so that classes may overlap.
    """

    pixels: tuple[int, ...]
    images: tuple[int, ...]
    pixels_of_images: tuple[int, ...]
    counted: tuple[int, ...]
    planes: bool = False

    @property
    def absent(self) -> list[int]:
        """The classes that no pixel has."""
        return [k for k, count in enumerate(self.pixels) if not count]

    @property
    def shares(self) -> np.ndarray:
        """The share of each class in the pixels that are not ignored."""
        return np.array(self.pixels) / np.maximum(self.counted, 1)


class WeightRule(abc.ABC):
    """A way to compute one weight for each class. Subclasses are frozen dataclasses."""

    @abc.abstractmethod
    def computed(self, counts: ClassCounts) -> tuple[float, ...]:
        """Returns one weight for each class, rounded to `DIGITS` significant digits.

        Raises:
          InputError: the rule is for other labels, or no pixel has a class.
        """


@dataclasses.dataclass(frozen=True)
class ExclusiveRule(WeightRule):
    """A rule for classes that exclude one another, by softmax."""

    def computed(self, counts: ClassCounts) -> tuple[float, ...]:
        """Returns one weight for each class; see `WeightRule.computed`."""
        if counts.planes:
            raise InputError(
                f"loss.weights={self!r} is for classes that exclude one another, but the "
                "labels have a plane for each class: use NegativesPerPositive()."
            )
        if len(counts.absent) == len(counts.pixels):
            raise InputError(
                f"loss.weights={self!r} cannot be computed: no pixel of the training labels "
                "has a class. Check the masks and their label_map."
            )
        present = np.array(counts.pixels) > 0
        weights = np.zeros(len(present))
        weights[present] = self._of_present(counts, present)
        return tuple(map(rounded, weights.tolist()))

    @abc.abstractmethod
    def _of_present(self, counts: ClassCounts, present: np.ndarray) -> np.ndarray:
        """Returns the weights of the classes that occur."""


@dataclasses.dataclass(frozen=True)
class MedianFrequency(ExclusiveRule):
    """Median frequency balancing (Eigen and Fergus, 2015, section 6.3.2; SegNet, section 4).

        frequency = pixels of the class / pixels of the images that contain the class
        weight = median of all classes' frequencies / frequency

    >>> counts = ClassCounts((80, 10, 30), (2, 1, 2), (200, 100, 200), (120, 120, 120))
    >>> MedianFrequency().computed(counts)
    (0.375, 1.5, 1.0)
    """

    def _of_present(self, counts: ClassCounts, present: np.ndarray) -> np.ndarray:
        frequency = np.array(counts.pixels) / np.maximum(counts.pixels_of_images, 1)
        return np.median(frequency[present]) / frequency[present]


@dataclasses.dataclass(frozen=True)
class InverseRoot(ExclusiveRule):
    """One over the square root of a class's share of the pixels, scaled to a mean of 1.

    It is milder than the inverse: a class with a hundredth of the pixels counts ten times.

    >>> counts = ClassCounts((90, 10), (1, 1), (100, 100), (100, 100))
    >>> InverseRoot().computed(counts)
    (0.5, 1.5)
    """

    def _of_present(self, counts: ClassCounts, present: np.ndarray) -> np.ndarray:
        weights = 1 / np.sqrt(counts.shares[present])
        return weights / weights.mean()


@dataclasses.dataclass(frozen=True)
class EffectiveNumber(ExclusiveRule):
    """One over the effective number of pixels (Cui et al., 2019, equation 2), with a mean of 1.

        weight ∝ (1 − β) / (1 − β^n)  for a class of n pixels

    Attributes:
      beta: β, from 0 to below 1. Classes of many more than 1 / (1 − β) pixels weigh alike;
        classes of fewer weigh almost as one over their pixels. The paper counts images and uses
        0.9 to 0.9999. Pixels are many more, hence the default, which stands for ten million.

    Raises:
      InputError: beta is not such a number.
    """

    beta: float = 1 - 1e-7

    def __post_init__(self) -> None:
        if not isinstance(self.beta, (int, float)) or not 0 <= self.beta < 1:
            raise InputError(
                f"EffectiveNumber has beta={self.beta!r}: give a number from 0 to below 1, "
                "such as 0.999999."
            )

    def _of_present(self, counts: ClassCounts, present: np.ndarray) -> np.ndarray:
        pixels = np.array(counts.pixels, np.float64)[present]
        # 1 − β^n without the loss of digits that β near 1 would bring.
        log_beta = math.log(self.beta) if self.beta else -math.inf
        weights = -1 / np.expm1(pixels * log_beta)
        return weights / weights.mean()


@dataclasses.dataclass(frozen=True)
class Logarithmic(ExclusiveRule):
    """1 / ln(offset + share of the pixels) (ENet; Paszke et al., 2016, section 5.1).

    Attributes:
      offset: the paper's 1.02 bounds the weights by 1 and 50.

    Raises:
      InputError: the offset is not above 1, so a weight could be infinite or negative.
    """

    offset: float = 1.02

    def __post_init__(self) -> None:
        if not isinstance(self.offset, (int, float)) or not 1 < self.offset < math.inf:
            raise InputError(
                f"Logarithmic has offset={self.offset!r}: give a number above 1, such as 1.02."
            )

    def _of_present(self, counts: ClassCounts, present: np.ndarray) -> np.ndarray:
        return 1 / np.log(self.offset + counts.shares[present])


@dataclasses.dataclass(frozen=True)
class NegativesPerPositive(WeightRule):
    """Pixels outside a class divided by those inside it, for each plane.

    It is for `PositiveWeightedCrossEntropy`: inside and outside then count the same in sum. If
    masks hold two class ids, the plane is class 1. A plane that is 0 everywhere gets 1.

    Attributes:
      most: the largest weight.

    Raises:
      InputError: `most` is not a finite number above 0.
    """

    most: float = 1000.0

    def __post_init__(self) -> None:
        if not isinstance(self.most, (int, float)) or not 0 < self.most < math.inf:
            raise InputError(
                f"NegativesPerPositive has most={self.most!r}: give a number above 0, such as "
                "100."
            )

    def computed(self, counts: ClassCounts) -> tuple[float, ...]:
        """Returns one weight for each plane; see `WeightRule.computed`."""
        pixels, counted = counts.pixels, counts.counted
        if not counts.planes:
            if len(pixels) != 2:
                raise InputError(
                    f"loss.weights={self!r} is for planes, but the labels have {len(pixels)} "
                    "classes that exclude one another: use MedianFrequency()."
                )
            pixels, counted = pixels[1:], counted[1:]
        return tuple(map(self._weight, pixels, counted))

    def _weight(self, inside: int, counted: int) -> float:
        if inside == 0:
            return 1.0
        # A plane that is 1 everywhere: any weight above 0 is the same.
        ratio = max(counted - inside, 1) / inside
        return rounded(min(ratio, float(self.most)))


def rounded(weight: float) -> float:
    """Returns a weight with `DIGITS` significant digits, as descriptions have it.

    >>> rounded(1 / 3), rounded(1234567.0)
    (0.333333, 1234570.0)
    """
    return float(f"{weight:.{DIGITS}g}")


EXCLUSIVE: tuple[ExclusiveRule, ...] = (
    MedianFrequency(),
    InverseRoot(),
    EffectiveNumber(),
    Logarithmic(),
)
"""The rules whose weights an audit lists, of class ids; of planes, `NegativesPerPositive`."""
