"""torchvision's DeepLab v3 on a dilated ResNet-50 with an auxiliary head, on PASCAL VOC 2012.

torchvision's weights: 66.4 mIoU, pixel accuracy 92.4, on the part of COCO val2017 with VOC's
classes, images and labels resized to a short side of 520, trained on COCO; no score of theirs
is on VOC val. Measured here: not yet.

The network is torchvision's to the tensor, so its weights file predicts without training:

    python -m segjax.predict experiments/deeplab_resnet50_voc.py photos/ --out masks/ \\
        --weights deeplabv3_resnet50_coco-cd0a2569.pth

Training follows torchvision's recipe: 32 images a step, SGD from 0.02 (the auxiliary head ten
times that), poly 0.9, weight decay 1e-4, loss + 0.5 · the auxiliary head's, crops of 480. It
differs in the data: VOC's images instead of COCO's, scaled by 0.7 to 2.8 (0.5 to 2 times 1.4:
520 pixels for a short side of usually 375), scored at their own size; and in its length, 10,000
steps, which are 30 epochs of trainaug's 10,582 images. `--set train_data.split=trainaug` needs
the folder SegmentationClassAug beside the devkit's folders.

Cost: made for an accelerator; not measured.

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
