"""FCN-16s (Long, Shelhamer, Darrell, 2015, arXiv:1411.4038): FCN-32s with a skip from pool4.

The released network, trained on SBD's 8498 images: 65.0 mIoU on seg11valid (736 images of VOC
2011), void ignored. The paper, table 2: 62.4. Measured here: not yet; the run needs an
accelerator and the result of `fcn32s_voc.py`, which its `init` names. If you ran that one with
`--set`, its folder has another name; give it by `--set init.source=...`.

The recipe is that of `fcn32s_voc.py` with a hundredth of its learning rate: 1e-12 on the sum
over pixels is 2.5e-7 on their mean over 500². The scores of pool4 start at zero, so the first
output equals FCN-32s's scores, interpolated in two steps.

Cost: made for an accelerator; not measured. One image a step runs on one device only.

    python -m segjax.launch experiments/fcn16s_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.vgg import CEIL, VGG16
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.fcn import FCN16s
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop
from segjax.weights import Pretrained

experiment = Experiment(
    name="fcn16s_voc",
    model=FCN16s(VGG16(pool=CEIL), num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("runs/fcn32s_voc/model.safetensors", allow=("score_pool4",)),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomCrop(500),),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Constant(2.5e-7),
        momentum=0.99,
        weight_decay=5e-4 / 500**2,
        decay_exclude=("/bias$",),
        multipliers=(("/bias$", 2.0),),
    ),
    batch_size=1,
    steps=100_000,
    evaluation=Evaluation(every=10_000, batch_size=1),
    checkpoint_every=5000,
)
