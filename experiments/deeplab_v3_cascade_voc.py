"""DeepLab v3, going deeper: ResNet-101 with blocks 5 to 7, on PASCAL VOC 2012.

The paper (Chen et al., 2017, arXiv:1706.05587, section 3.1), tables 3 and 4, trained on
trainaug with multi-grid (1, 2, 1): 76.66 mIoU on val at output stride 16, 78.05 evaluated at 8,
79.35 with flips and scales. Measured here: not yet; the run needs an accelerator and ImageNet
weights.

The paper's recipe: batch 16, crop 513, 30,000 steps, poly 0.9 from 0.007, the loss on scores
interpolated to the image. As in its TensorFlow code, weight decay is 1e-4 of kernels only, and
scales come in steps of 0.25.

Differences: BatchNorm decays by 0.9 instead of 0.9997. Blocks 5 to 7 are initialised at random;
the paper does not say whether theirs copy block 4's weights. There is no auxiliary head.
Training uses the 1464 images of `train`, so expect a lower score than the paper's. To train on
trainaug, add `--set train_data.split=trainaug`, which needs the folder SegmentationClassAug in
the devkit.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_v3_cascade_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.resnet import ResNet101
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3_cascade import DeepLabV3Cascade
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_v3_cascade_voc",
    model=DeepLabV3Cascade(ResNet101(output_stride=16, multi_grid=(1, 2, 1)), num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet101.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomScale(0.5, 2.0, step=0.25), RandomCrop(513), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.007, power=0.9),
        momentum=0.9,
        weight_decay=1e-4,
        decay_exclude=("/bias$", "/scale$"),
    ),
    batch_size=16,
    steps=30_000,
    evaluation=Evaluation(every=5000, output_stride=8),
)
