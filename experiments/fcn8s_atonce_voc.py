"""FCN-8s in one stage (Shelhamer, Long, Darrell, 2016, arXiv:1605.06211) on PASCAL VOC 2012.

The released network, voc-fcn8s-atonce, trained on SBD's 8498 images: 65.4 mIoU on seg11valid
(736 images of VOC 2011), void ignored; 65.5 in three stages. Measured here: not yet; the run
needs an accelerator and ImageNet weights.

Fixed scales of 0.01 and 0.0001 on pool4 and pool3 replace the falling learning rates of three
stages. The recipe is that of `fcn32s_voc.py`, three times as long: 1e-10 on the sum over
pixels, 2.5e-5 on their mean over 500², for 300,000 steps. The docstring of that file lists the
differences.

Cost: made for an accelerator; not measured. One image a step runs on one device only.

    python -m segjax.launch experiments/fcn8s_atonce_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.vgg import CEIL, VGG16
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.fcn import FCN8sAtOnce
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop
from segjax.weights import Pretrained

experiment = Experiment(
    name="fcn8s_atonce_voc",
    model=FCN8sAtOnce(VGG16(pool=CEIL), num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("timm/vgg16.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomCrop(500),),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Constant(2.5e-5),
        momentum=0.99,
        weight_decay=5e-4 / 500**2,
        decay_exclude=("/bias$",),
        multipliers=(("/bias$", 2.0),),
    ),
    batch_size=1,
    steps=300_000,
    evaluation=Evaluation(every=10_000, batch_size=1),
    checkpoint_every=5000,
)
