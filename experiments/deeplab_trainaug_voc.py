"""DeepLab v3 (Chen et al., 2017, arXiv:1706.05587) with ResNet-101 on VOC 2012's trainaug.

The paper, table 6: 77.21 mIoU on val at output stride 16, 78.51 evaluated at 8. Measured here:
not yet; the run needs both archives, an accelerator and ImageNet weights.

Trainaug is VOC's `train` and the images of SBD (Hariharan et al., 2011) that are not in VOC's
`val`: 10,582 images. DIR holds the two unpacked archives, `VOCdevkit` and `benchmark_RELEASE`.

The recipe is the one of `deeplab_voc.py`: batch 16, crop 513, 30,000 steps (45 epochs), poly
0.9 from 0.007, image-level features, multi-grid (1, 2, 4). Images of VOC's `train` have its
masks, in which the borders of objects are ignored; the other ones have SBD's, without borders.

Differences: BatchNorm decays by 0.9 instead of 0.9997.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_trainaug_voc.py --data DIR
"""

from segjax import losses
from segjax.backbones.resnet import ResNet101
from segjax.data.sbd import TrainAug
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_trainaug_voc",
    model=DeepLabV3(
        ResNet101(output_stride=16, multi_grid=(1, 2, 4)),
        num_classes=21,
        rates=(6, 12, 18),
        extra_conv=False,
        dropout=0.1,
    ),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet101.tv_in1k"),
    train_data=TrainAug(),
    eval_data=VOC(split="val"),
    transforms=(RandomScale(0.5, 2.0), RandomCrop(513), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.007, power=0.9), momentum=0.9, weight_decay=1e-4),
    batch_size=16,
    steps=30_000,
    evaluation=Evaluation(every=5000, output_stride=8),
)
