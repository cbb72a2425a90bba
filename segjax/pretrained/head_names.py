"""The names of segmentation heads' modules in torchvision, and our paths for them."""

from segjax.pretrained.backbone_names import Table

AUXILIARY: Table = (
    (r"aux_classifier\.0", "auxiliary_head/conv/conv"),
    (r"aux_classifier\.1", "auxiliary_head/conv/norm"),
    (r"aux_classifier\.4", "auxiliary_head/classifier"),
)

DEEPLAB_V3: Table = (
    # In the pooling branch the convolution comes after the pool.
    (r"classifier\.0\.convs\.4\.1", "aspp/convs_4/conv"),
    (r"classifier\.0\.convs\.4\.2", "aspp/convs_4/norm"),
    (r"classifier\.0\.convs\.(\d)\.0", r"aspp/convs_\1/conv"),
    (r"classifier\.0\.convs\.(\d)\.1", r"aspp/convs_\1/norm"),
    (r"classifier\.0\.project\.0", "aspp/project/conv"),
    (r"classifier\.0\.project\.1", "aspp/project/norm"),
    (r"classifier\.1", "head/conv"),
    (r"classifier\.2", "head/norm"),
    (r"classifier\.4", "classifier"),
    *AUXILIARY,
)

LRASPP: Table = (
    (r"classifier\.cbr\.0", "cbr/conv"),
    (r"classifier\.cbr\.1", "cbr/norm"),
    (r"classifier\.scale\.1", "scale"),
    (r"classifier\.((?:low|high)_classifier)", r"\1"),
)

FCN: Table = (
    (r"classifier\.0", "head/conv/conv"),
    (r"classifier\.1", "head/conv/norm"),
    (r"classifier\.4", "head/classifier"),
    *AUXILIARY,
)

_ROI = r"roi_heads\."
TWO_STAGE: Table = (
    # Published files of the first versions have the shorter names. The backbone's modules
    # have lost `body.` here, and the pyramid's the backbone's prefix.
    (r"fpn\.((?:inner|layer)_blocks)\.(\d)", r"fpn/\1_\2"),
    (r"rpn\.head\.conv", "rpn_head/conv_0"),
    (r"rpn\.head\.conv\.(\d)\.0", r"rpn_head/conv_\1"),
    (r"rpn\.head\.(cls_logits|bbox_pred)", r"rpn_head/\1"),
    (rf"{_ROI}box_head\.(fc\d)", r"box_head/\1"),
    (rf"{_ROI}box_head\.5", "box_head/fc6"),
    (rf"{_ROI}box_predictor\.(cls_score|bbox_pred)", r"box_predictor/\1"),
    (rf"{_ROI}mask_head\.mask_fcn1", "mask_head/conv_0"),
    (rf"{_ROI}mask_head\.mask_fcn2", "mask_head/conv_1"),
    (rf"{_ROI}mask_head\.mask_fcn3", "mask_head/conv_2"),
    (rf"{_ROI}mask_head\.mask_fcn4", "mask_head/conv_3"),
    (rf"{_ROI}mask_predictor\.(conv5_mask|mask_fcn_logits)", r"mask_predictor/\1"),
)
"""Mask R-CNN and Faster R-CNN, whose convolutions have no norms behind them."""

_NORMED_ROI = rf"{_ROI}(box|mask)_head\.(\d)"
TWO_STAGE_V2: Table = (
    (r"fpn\.((?:inner|layer)_blocks)\.(\d)\.0", r"fpn/\1_\2/conv"),
    (r"fpn\.((?:inner|layer)_blocks)\.(\d)\.1", r"fpn/\1_\2/norm"),
    (rf"{_NORMED_ROI}\.0", r"\1_head/conv_\2/conv"),
    (rf"{_NORMED_ROI}\.1", r"\1_head/conv_\2/norm"),
    *TWO_STAGE,
)
"""Their second versions."""

TWO_STAGE_NEWER: Table = (
    (r"fpn\.((?:inner|layer)_blocks)\.(\d)\.0", r"fpn/\1_\2"),
    (rf"{_ROI}mask_head\.(\d)\.0", r"mask_head/conv_\1"),
    *TWO_STAGE,
)
"""Their first versions, as newer versions of torchvision save them."""

HEADS = {
    "fpn.inner_blocks.0.1": ("second Mask R-CNN or Faster R-CNN", TWO_STAGE_V2),
    "fpn.inner_blocks.0.0": ("Mask R-CNN or Faster R-CNN", TWO_STAGE_NEWER),
    "fpn.inner_blocks.0": ("Mask R-CNN or Faster R-CNN", TWO_STAGE),
    "classifier.0.project.0": ("DeepLab v3", DEEPLAB_V3),
    "classifier.cbr.0": ("LR-ASPP", LRASPP),
    "classifier.4": ("FCN", FCN),
}
"""{a module that a head has and the heads above it lack: (the head's name, its table)}."""
