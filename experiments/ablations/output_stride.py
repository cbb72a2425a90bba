"""Output strides 32, 16 and 8 of one backbone (DeepLab v3, arXiv:1706.05587) on drawn shapes.

The parameters are the same at each output stride. Strides become dilations, and the ASPP rates
cover the same number of pixels. The paper, table 1, ResNet-50 with seven blocks on PASCAL VOC:
70.06 mIoU at 32, 73.88 at 16, 75.18 at 8.

Measured here: not yet. Cost: six runs of about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/output_stride.py
"""

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

experiments = [
    Experiment(
        name=f"output_stride_{stride}",
        model=DeepLabV3(
            ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=16, output_stride=stride),
            num_classes=6,
            rates=(32 // stride, 64 // stride),
            features=32,
            dropout=0.0,
        ),
        normalize=IMAGENET,
        train_data=Synthetic(split="train", size=96),
        eval_data=Synthetic(split="val", size=96),
        transforms=(RandomFlip(),),
        loss=losses.softmax_cross_entropy,
        optimizer=AdamW(Cosine(5e-3, warmup_steps=20)),
        batch_size=8,
        steps=1000,
        seed=seed,
        evaluation=Evaluation(batch_size=8),
        checkpoint_every=250,
    )
    for stride in (32, 16, 8)
    for seed in (0, 1)
]
