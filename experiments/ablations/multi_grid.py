"""Multi-grid of DeepLab v3 (arXiv:1706.05587, section 3.1.1) on drawn shapes.

The three units of the last stage dilate by (r1, r2, r3) times 4, the rate of the output stride.
The paper, table 5, ResNet-101 without image-level features: 75.36 mIoU on VOC with (1, 1, 1),
75.93 with (1, 2, 1), 76.58 with (1, 2, 4). On maps of 12 × 12 positions a kernel at rate 16
reads only its centre, so a small image may reverse that order.

Measured here: not yet. Cost: six runs of about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/multi_grid.py
"""

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

BACKBONE = ResNet(stages=(1, 1, 1, 3), block=BasicBlock, width=16, output_stride=8)

experiments = [
    Experiment(
        name="multi_grid_" + "_".join(map(str, grid)),
        model=DeepLabV3(
            BACKBONE.clone(multi_grid=grid),
            num_classes=6,
            rates=(1, 2, 4),
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
    for grid in ((1, 1, 1), (1, 2, 1), (1, 2, 4))
    for seed in (0, 1)
]
