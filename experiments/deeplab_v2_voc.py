"""DeepLab v2 (Chen et al., 2016, arXiv:1606.00915) with ResNet-101 on PASCAL VOC 2012.

The paper, table 4, trained on trainaug from COCO weights: 76.35 mIoU on val with fused scales
and atrous pyramid, 77.69 with its CRF. Without COCO, and with fused scales alone: 71.27.
Measured here: not yet; the run needs an accelerator and ImageNet weights. The CRF is a separate
step, as in `deeplab_v1_voc.py`.

The paper's recipe: batch 10, crop 321, 20,000 steps, poly 0.9 from 2.5e-4, momentum 0.9, weight
decay 5e-4 without biases. The classifiers learn ten times as fast, their biases twenty times.
The network reads the image at scales 0.5, 0.75 and 1; each scale has a loss of weight 1 beside
that of their maximum, with the labels of every eighth pixel. Images are scaled by 0.5 to 1.5.
Batch normalisation is frozen: statistics, scales and offsets.

Differences: the weights are ImageNet's instead of COCO's, with torchvision's inputs and layout
(the stride on the 3×3, the first dilated unit at the previous rate). The authors' Caffe weights
need `block=BottleneckV1` and `normalize=CAFFE`. Training uses the 1464 images of `train`, so
expect a lower score than the paper's. To train on trainaug, add `--set
train_data.split=trainaug`, which needs the folder SegmentationClassAug in the devkit.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_v2_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.resnet import ResNet101
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab import DeepLabV2
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_v2_voc",
    model=DeepLabV2(
        ResNet101(output_stride=8, frozen_norm=True), num_classes=21, scales=(0.5, 0.75, 1.0)
    ),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet101.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomScale(0.5, 1.5), RandomCrop(321), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(2.5e-4, power=0.9),
        momentum=0.9,
        weight_decay=5e-4,
        decay_exclude=("/bias$",),
        multipliers=(("bn", 0.0), ("aspp/.*/kernel", 10.0), ("aspp/.*/bias", 20.0)),
    ),
    batch_size=10,
    steps=20_000,
    auxiliary_weight=1.0,
    evaluation=Evaluation(every=5000),
)
