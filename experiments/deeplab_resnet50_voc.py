"""torchvision's DeepLab v3 on a dilated ResNet-50, on PASCAL VOC 2012.

The network is that of Chen et al. (2017, arXiv:1706.05587) with torchvision's differences:
rates of 12, 24 and 36 at output stride 8, one more 3×3 convolution in the head, and an
auxiliary head. It is torchvision's to the tensor, so its weights file predicts without
training:

    python -m segjax.predict experiments/deeplab_resnet50_voc.py photos/ --out masks/ \
        --weights deeplabv3_resnet50_coco-cd0a2569.pth

torchvision's weights reach 66.4 mIoU and 92.4 pixel accuracy on the part of COCO val2017 with
VOC's classes. They were trained on COCO; torchvision gives no score on VOC val. Measured here:
not yet.

Training follows torchvision's recipe: 32 images a step, SGD from 0.02 (ten times that in the
auxiliary head), poly 0.9, weight decay 1e-4, crops of 480, and 0.5 · the auxiliary head's loss.
It differs in the data: VOC instead of COCO, scaled by 0.7 to 2.8, scored at the images' own
size. And in the length: 10,000 steps, which are 30 epochs of trainaug's 10,582 images. `--set
train_data.split=trainaug` needs the folder SegmentationClassAug of the devkit.

Cost: not measured; it needs an accelerator.

    python -m segjax.launch experiments/deeplab_resnet50_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_resnet50_voc",
    model=DeepLabV3(
        ResNet50(output_stride=8), num_classes=21, rates=(12, 24, 36), auxiliary=True
    ),
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
