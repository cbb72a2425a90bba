"""RefineNet (Lin, Milan, Shen, Reid, 2016, arXiv:1611.06612) with ResNet-50 on PASCAL VOC 2012.

The authors' training demo, on the 1464 images of `train` alone: "around 0.691" mIoU on val. The
paper's ResNet-101, trained with SBD and COCO too: 83.4 on test. Its released weights: 80.5 on
val (`--set model.backbone.stages=3,4,23,3 --set init.source=timm/resnet101.tv_in1k`). Measured
here: not yet; the run needs an accelerator and ImageNet weights.

The demo's recipe: one image a step, learning rate 5e-4 until val stops improving, then a tenth;
momentum 0.9, weight decay 5e-4, the backbone at a tenth of the learning rate with frozen
statistics; scales of 0.7 to 1.3 in steps of 0.1, flips, crops of up to 400.

Differences: both stages are one run of 100,000 and 50,000 steps, which is our choice. Images
are drawn uniformly instead of by class. The loss uses scores at the image's size, the demo's at
a quarter of it. The demo enlarges images with a short side below 450, and gives the network 1.2
times the image; here the network reads the image as it is. Inputs are normalised for
torchvision's weights. Four poolings are chained; the demo's options name 2 or 4.

Cost: made for an accelerator; the demo's authors say 3 days on one Titan X. One image a step
runs on one device only.

    python -m segjax.launch experiments/refinenet_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.refinenet import RefineNet
from segjax.train.optimizer import SGD, Staircase
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="refinenet_voc",
    model=RefineNet(ResNet50(frozen_norm=True), num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomScale(0.7, 1.3, step=0.1), RandomFlip(), RandomCrop(400)),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Staircase(5e-4, boundaries=(100_000,), factor=0.1),
        momentum=0.9,
        weight_decay=5e-4,
        multipliers=(("^backbone/", 0.1),),
    ),
    batch_size=1,
    steps=150_000,
    evaluation=Evaluation(every=10_000),
    checkpoint_every=5000,
)
