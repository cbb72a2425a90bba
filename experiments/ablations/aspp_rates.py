"""ASPP rates of DeepLab v3 (Chen et al., 2017, arXiv:1706.05587, section 3.3) on drawn shapes.

The pyramid reads 12 × 12 positions at output stride 8. Rates (1, 1, 1) give three equal levels;
(1, 2, 4) cover 9 positions. At rate 6 half of the outer taps read padding. From rate 12 on all
of them do, and a 3×3 acts as a 1×1: the paper's reason for image pooling.

Measured here, mIoU on 64 held-out images, mean ± deviation of two seeds: 0.669 ± 0.107 with (1,
1, 1), 0.718 ± 0.018 with (1, 2, 4), 0.676 ± 0.029 with (6, 12, 18). Two seeds are too few to
separate the three, because those of (1, 1, 1) differ most.

Cost: six runs of about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/aspp_rates.py
"""

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

BACKBONE = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=16, output_stride=8)

experiments = [
    Experiment(
        name="rates_" + "_".join(map(str, rates)),
        model=DeepLabV3(BACKBONE, num_classes=6, rates=rates, features=32, dropout=0.0),
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
    for rates in ((1, 1, 1), (1, 2, 4), (6, 12, 18))
    for seed in (0, 1)
]
