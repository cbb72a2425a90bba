"""DeepLab v3 (Chen et al., 2017, arXiv:1706.05587) on CamVid, small enough for a CPU.

The backbone has half of ResNet-18's width and fewer blocks, and is trained from scratch at
output stride 16. The ASPP rates are small, because its map is small. A class weighs by the
square root of the inverse of its frequency. The paper has no score on CamVid.

Measured here: 0.507 mIoU, 0.829 pixel accuracy, on the 101 val frames, 11 classes, void
ignored. Cost: 14 minutes on two CPU cores.

    python -m segjax.launch experiments/deeplab_camvid.py --data /data/camvid
"""

from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.losses import ClassWeightedCrossEntropy
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

# Sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist.
WEIGHTS = (0.88, 0.74, 3.6, 0.64, 1.7, 1.16, 3.35, 3.4, 1.49, 4.35, 7.03)

experiment = Experiment(
    name="deeplab_camvid",
    model=DeepLabV3(
        ResNet(stages=(1, 1, 2, 1), block=BasicBlock, width=32, output_stride=16),
        num_classes=11,
        rates=(3, 6, 9),
        features=64,
        dropout=0.1,
        extra_conv=False,
    ),
    normalize=IMAGENET,
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    transforms=(
        RandomScale(0.6, 1.4),
        RandomCrop((352, 480)),
        RandomFlip(),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
    ),
    loss=ClassWeightedCrossEntropy(WEIGHTS),
    optimizer=AdamW(Cosine(2e-3, warmup_steps=50), weight_decay=1e-2),
    batch_size=4,
    steps=1000,
    evaluation=Evaluation(every=500, batch_size=8),
    checkpoint_every=500,
)
