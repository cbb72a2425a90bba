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

HEADS = {
    "classifier.0.project.0": ("DeepLab v3", DEEPLAB_V3),
    "classifier.cbr.0": ("LR-ASPP", LRASPP),
    "classifier.4": ("FCN", FCN),
}
"""{a module that a head has and the heads above it lack: (the head's name, its table)}."""
