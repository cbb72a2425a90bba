"""DeepLab v3+ (Chen et al., 2018, arXiv:1802.02611) with Xception-65 on Cityscapes.

The paper: 78.79 mIoU on val at output stride 16, one scale; 79.14 without image-level features.
Measured here: not yet; the run needs an accelerator and ImageNet weights, those of DeepLab's
authors as timm republishes them.

The authors' recipe: batch 16, crop 769, 90,000 steps, poly 0.9 from 0.01. As in their
TensorFlow code, scales come in steps of 0.25, weight decay is 4e-5 of pointwise and ordinary
kernels only, and inputs lie in [-1, 1] with grey around the image.

Differences: BatchNorm in the pyramid and the decoder decays by 0.9 instead of 0.9997. In
evaluation the pooling branch pools the entire map; that code pools windows of the crop's size.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_v3_plus_cityscapes.py --data /data/cityscapes
"""

from segjax import losses
from segjax.backbones.xception import Xception65
from segjax.data.cityscapes import Cityscapes
from segjax.experiment import SIGNED, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3Plus
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_v3_plus_cityscapes",
    model=DeepLabV3Plus(Xception65(output_stride=16), num_classes=19, rates=(6, 12, 18)),
    normalize=SIGNED,
    init=Pretrained("timm/xception65.tf_in1k"),
    train_data=Cityscapes(split="train"),
    eval_data=Cityscapes(split="val"),
    transforms=(RandomScale(0.5, 2.0, step=0.25), RandomCrop(769, fill=128), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.01, power=0.9),
        momentum=0.9,
        weight_decay=4e-5,
        decay_exclude=("/bias$", "/scale$", "/depthwise/"),
    ),
    batch_size=16,
    steps=90_000,
    evaluation=Evaluation(every=10_000, batch_size=1),
)
