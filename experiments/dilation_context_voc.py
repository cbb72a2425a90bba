"""The context module of the dilated network (Yu and Koltun, 2015, arXiv:1511.07122) on VOC.

Seven 3×3 layers of rates 1 to 16 and a 1×1 process the scores of `dilation_voc.py`, whose
result `init` names. The paper: 75.3 mIoU on test with a CRF-RNN after it; its front end, with
COCO first, 71.3. Measured here: not yet; the run needs an accelerator and that other run. If
you ran that one with `--set`, give its folder: `--set init.source=...`.

The module is trained alone, as in the paper and the released code: the front end has learning
rate 0 and no dropout. Learning rate 0.001, momentum 0.9, weight decay 5e-4 without biases,
which learn twice as fast; the layers start as the identity. Batch and length are our choice: 14
images (the code uses 60 of stored scores) and 20,000 steps, on the 1464 images of `train`. For
the large module add `--set model.context=2,2,4,8,16,32,32`. The authors then train both
together at 1e-5:

    --set init.source=runs/dilation_context_voc/model.safetensors --set "init.allow=()"
    --set "optimizer.multipliers=(('/bias$', 2.0),)" --set optimizer.schedule.rate=1e-5
    --set model.dropout=0.5

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/dilation_context_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.dilation import BASIC, Dilation
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.weights import Pretrained

experiment = Experiment(
    name="dilation_context_voc",
    model=Dilation(num_classes=21, context=BASIC, dropout=0.0),
    normalize=IMAGENET,
    init=Pretrained("runs/dilation_voc/model.safetensors", allow=("/context/",)),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomCrop(500), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Constant(1e-3),
        momentum=0.9,
        weight_decay=5e-4,
        decay_exclude=("/bias$",),
        multipliers=(("^(conv|fc|final)", 0.0), ("/bias$", 2.0)),
    ),
    batch_size=14,
    steps=20_000,
    evaluation=Evaluation(every=5000),
)
