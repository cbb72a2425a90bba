"""FC-DenseNet-103, the Tiramisu (Jégou et al., 2016, arXiv:1611.09326), on CamVid's 11 classes.

The paper, table 3, without pretraining: 66.9 mIoU, 91.5 pixel accuracy on the 233 test frames,
void ignored. Measured here: not yet; the run needs an accelerator.

The released recipe: RMSprop from 0.001, multiplied by 0.995 each epoch (122 steps), an L2 loss
of 1e-4 times the squares of kernels and scales (2e-4 times them in the gradient), crops of
224², flips, at most 750 epochs of batch 3.

Differences: training does not stop early; the best checkpoint is chosen by the 101 val frames.
Inputs are normalised by ImageNet's statistics, because the authors' loader is not public.
Evaluation uses running averages; the released code normalises by the statistics of 10 test
frames at once. The paper's second run, on entire frames at 1e-4 from the result of the first,
is not included. To score the test frames afterwards: `--workdir runs/fc_densenet_camvid
--evaluate --set eval_data.split=test`.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/fc_densenet_camvid.py --data /data/camvid
"""

from segjax import losses
from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.fc_densenet import FCDenseNet103
from segjax.train.optimizer import Exponential, RMSProp
from segjax.transforms.geometric import RandomCrop, RandomFlip

experiment = Experiment(
    name="fc_densenet_camvid",
    model=FCDenseNet103(num_classes=11),
    normalize=IMAGENET,
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    transforms=(RandomCrop(224), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=RMSProp(
        Exponential(1e-3, factor=0.995, every=122),
        weight_decay=2e-4,
        decay_exclude=("/bias$",),
    ),
    batch_size=3,
    steps=750 * 122,
    evaluation=Evaluation(every=1220),
    checkpoint_every=1220,
)
