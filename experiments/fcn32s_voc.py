"""FCN-32s (Long, Shelhamer, Darrell, 2015, arXiv:1411.4038) with VGG16 on PASCAL VOC 2012.

The released network, trained on SBD's 8498 images: 63.6 mIoU on seg11valid (the 736 images of
VOC 2011 that are not in SBD's training set), void ignored. The paper, table 2: 59.4. Here it
trains on `train` and is scored on `val` of VOC 2012. Measured here: not yet; the run needs an
accelerator and ImageNet weights. `fcn16s_voc.py` starts from this run's result, and
`fcn8s_voc.py` from the result of that one.

The recipe of the released solver: one image a step, momentum 0.99, weight decay 5e-4 without
biases, which learn twice as fast, no augmentation, a constant learning rate for 100,000 steps.

Differences: its loss is a sum over pixels at 1e-10; ours is their mean, at 1e-10 · 500² =
2.5e-5, with a decay of 5e-4 / 500². That is the same step for a 500 × 500 image without void; a
third larger for 500 × 375, and larger still with void. Each image lies somewhere on a canvas of
500² of the mean colour, so that all images have one shape. Inputs are normalised for
torchvision's VGG16; Caffe's weights need `normalize=CAFFE`. The bilinear upsampling is fixed
and is not a parameter.

Cost: made for an accelerator; not measured. One image a step runs on one device only.

    python -m segjax.launch experiments/fcn32s_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.vgg import CEIL, VGG16
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.fcn import FCN32s
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop
from segjax.weights import Pretrained

experiment = Experiment(
    name="fcn32s_voc",
    model=FCN32s(VGG16(pool=CEIL), num_classes=21),
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
    steps=100_000,
    evaluation=Evaluation(every=10_000, batch_size=1),
    checkpoint_every=5000,
)
