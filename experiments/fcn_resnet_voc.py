"""torchvision's FCN (arXiv:1411.4038) on a dilated ResNet-50, on PASCAL VOC 2012.

torchvision's weights, trained on COCO: 60.5 mIoU and 91.4 pixel accuracy on the part of COCO
val2017 with VOC's classes, images and labels resized to a short side of 520. torchvision gives
no score on VOC val. Measured here: not yet; the run needs an accelerator and ImageNet weights.

torchvision's recipe: batch 32, SGD from 0.02 (ten times that for the auxiliary head), poly 0.9,
weight decay 1e-4, the loss plus 0.5 times the auxiliary head's, crops of 480.

Differences: the images are VOC's instead of COCO's, scaled by 1.4 times 0.5 to 2 (1.4 brings a
usual short side of 375 to 520), and scored at their own size. Training takes 10,000 steps,
which are 30 epochs of trainaug's 10,582 images. To train on trainaug, add `--set
train_data.split=trainaug`, which needs the folder SegmentationClassAug in the devkit.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/fcn_resnet_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.fcn import FCN
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="fcn_resnet_voc",
    model=FCN(ResNet50(output_stride=8), num_classes=21, auxiliary=True),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomScale(0.7, 2.8), RandomFlip(), RandomCrop(480)),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.02, power=0.9),
        momentum=0.9,
        weight_decay=1e-4,
        multipliers=(("auxiliary_head", 10.0),),
    ),
    batch_size=32,
    steps=10_000,
    auxiliary_weight=0.5,
    evaluation=Evaluation(every=2500),
)
