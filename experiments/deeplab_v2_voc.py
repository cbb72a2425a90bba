"""DeepLab v2 (Chen et al., 2016, arXiv:1606.00915) with ResNet-101 on PASCAL VOC 2012.

The paper, table 4, trained on trainaug from COCO weights: 76.35 mIoU on val (scales fused,
atrous pyramid), 77.69 with its CRF; without COCO 71.27 with fused scales alone. Measured here:
not yet; the run needs an accelerator and ImageNet weights. The CRF is run apart.

The paper's recipe: batch 10, crop 321, 20,000 steps, poly 0.9 from 2.5e-4, the classifiers ten
times faster and their biases twenty times, momentum 0.9, weight decay 5e-4 but not of biases;
scales 0.5, 0.75 and 1 of the image, each with a loss of weight 1 beside the maximum's, labels
of every eighth pixel; images scaled by 0.5 to 1.5; statistics, scales and offsets of the batch
normalisation frozen. Where it differs: ImageNet weights instead of COCO's, in torchvision's
layout (the stride on the 3×3, the first dilated unit at the previous rate) and with its inputs;
the authors' Caffe weights want `block=BottleneckV1` and `normalize=CAFFE`. Here on the 1464
images of `train`, so below that; `--set train_data.split=trainaug` wants SegmentationClassAug
beside the devkit's folders.

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
