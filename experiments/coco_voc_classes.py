"""torchvision's DeepLab v3 (arXiv:1706.05587) on ResNet-50, on COCO's images, VOC's classes.

The network is that of Chen et al. (2017, arXiv:1706.05587) with torchvision's differences, and
the recipe is that of its published weights (references/segmentation): 66.4 mIoU and 92.4 pixel
accuracy on COCO val2017, images and labels resized to a short side of 520. Measured here: not
yet; the run needs COCO, an accelerator and ImageNet weights.

The data are torchvision's: VOC's 20 classes from COCO's objects, 255 where objects overlap, and
to train on only images in which these objects cover more than 1000 pixels. So is the recipe:
short sides of 260 to 1040, flips, crops of 480 padded with black, 32 images a step (8 GPUs with
4 each), SGD from 0.02 (ten times that in the auxiliary head), poly 0.9, weight decay 1e-4, and
0.5 · the auxiliary head's loss. The network is the one of `deeplab_resnet50_voc.py`.

Differences: images are scored at their own size. A crop that is larger than its image lies at a
random place around it instead of at its corner. The 86,700 steps are 30 epochs of 92,480
images; how many really pass the filter was not counted here, and preparation prints it.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/coco_voc_classes.py --data /data/coco
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.coco import COCO
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.transforms.resize_sides import ResizeShortSide
from segjax.weights import Pretrained

experiment = Experiment(
    name="coco_voc_classes",
    model=DeepLabV3(
        ResNet50(output_stride=8), num_classes=21, rates=(12, 24, 36), auxiliary=True
    ),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=COCO(split="train", classes="voc"),
    eval_data=COCO(split="val", classes="voc"),
    transforms=(ResizeShortSide((260, 1040)), RandomFlip(), RandomCrop(480, fill=0.0)),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.02, power=0.9),
        momentum=0.9,
        weight_decay=1e-4,
        multipliers=(("auxiliary_head", 10.0),),
    ),
    batch_size=32,
    steps=86_700,
    auxiliary_weight=0.5,
    evaluation=Evaluation(every=8670),
)
