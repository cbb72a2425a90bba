"""Panoptic FPN's loss: that of the detector, and the cross-entropy of the semantic branch."""

import dataclasses
from collections.abc import Mapping

from segjax.contracts import Term
from segjax.losses.counted import check_number
from segjax.losses.cross_entropy import softmax_cross_entropy
from segjax.losses.detection import Arrays, TwoStage


@dataclasses.dataclass(frozen=True)
class PanopticFPN:
    """The terms of `TwoStage`, and `semantic`: `weight` · Σ −log p_label over valid pixels.

    The semantic term is divided by the number of valid pixels of all images.

    Attributes:
      two_stage: the loss of the detector.
      weight: factor of the semantic term: ½ in detectron2.

    Raises:
      InputError: the weight is not above 0.

    Source: Kirillov et al., 2019 (arXiv:1901.02446), section 4, λ_i = 1 and λ_s = `weight`.
    """

    two_stage: TwoStage = TwoStage()
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_number("weight", self.weight, low=0.0)

    def __call__(self, outputs: Arrays, targets: Arrays) -> Mapping[str, Term]:
        """Returns total and weight of each term.

        Args:
          outputs: those of `TwoStage`, and `semantic` b h w k, logits.
          targets: those of `TwoStage`, and `semantic` b h w, the branch's classes or 255.

        Raises:
          ValueError: the network has no semantic branch, or `softmax_cross_entropy` refuses
            the labels.
        """
        if "semantic" not in outputs:
            raise ValueError(
                "losses.PanopticFPN is for a network with a semantic branch: use "
                "model=PanopticFPN(...) with task=segjax.tasks.panoptic_fpn.TopDown()."
            )
        logits, label = outputs["semantic"], targets["semantic"]
        total, pixels = softmax_cross_entropy(logits, {"label": label})["cross_entropy"]
        return {
            **self.two_stage(outputs, targets),
            "semantic": (self.weight * total, pixels),
        }
