"""The front end of the dilated network (Yu and Koltun, 2015, arXiv:1511.07122) on PASCAL VOC.

The paper, section 4, trained on the training images of VOC 2012 and SBD without val: 67.6 mIoU
on test; 69.8 on val with COCO first. Measured here: not yet; the run needs an accelerator and
ImageNet weights. `dilation_context_voc.py` adds the context module to this run's result.

The paper's recipe: batch 14, 60,000 steps at 0.001, momentum 0.9. From the released code:
weight decay 5e-4 without biases, which learn twice as fast, and flips. The classifier starts
with a standard deviation of 0.001. The loss uses the labels of every eighth pixel.

Differences: a step reads entire images on a canvas of 500², with the mean colour around them,
and has 63 × 63 scores of each; the code crops 500² from images that it mirror-pads by 186
pixels, and has 16 × 16 scores. Inputs are normalised for torchvision's VGG16. Training uses the
1464 images of `train`, so expect a lower score than the paper's. To train on trainaug, add
`--set train_data.split=trainaug`, which needs the folder SegmentationClassAug in the devkit.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/dilation_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.dilation import Dilation
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.weights import Pretrained

experiment = Experiment(
    name="dilation_voc",
    model=Dilation(num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("timm/vgg16.tv_in1k", allow=("/final/",)),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomCrop(500), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Constant(1e-3),
        momentum=0.9,
        weight_decay=5e-4,
        decay_exclude=("/bias$",),
        multipliers=(("/bias$", 2.0),),
    ),
    batch_size=14,
    steps=60_000,
    evaluation=Evaluation(every=10_000),
    checkpoint_every=5000,
)
