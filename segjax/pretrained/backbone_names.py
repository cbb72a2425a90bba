"""The names of backbone modules in torchvision and timm, and the paths in our backbones.

Each function takes the modules of a checkpoint with the names of their tensors, and returns our
path for each module that it knows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

Modules = Mapping[str, set[str]]
"""{"layer1.0.bn1": {"weight", "bias", "running_mean", "running_var"}}"""

Rename = Callable[[Modules], dict[str, str]]
Table = Sequence[tuple[str, str]]
"""(regular expression of a module's full name, path with its groups); the first match wins."""


def by_table(table: Table, modules: Modules) -> dict[str, str]:
    """Returns the paths that a table gives to modules.

    >>> by_table(RESNET, {"layer1.0.downsample.1": set(), "fc": set()})
    {'layer1.0.downsample.1': 'layer1_0/downsample_bn'}
    """
    paths = {}
    for module in modules:
        for pattern, path in table:
            if match := re.fullmatch(pattern, module):
                paths[module] = match.expand(path)
                break
    return paths


RESNET = (
    (r"(conv1|bn1)", r"\1"),
    (r"layer(\d)\.(\d+)\.((?:conv|bn)\d)", r"layer\1_\2/\3"),
    (r"layer(\d)\.(\d+)\.downsample\.0", r"layer\1_\2/downsample_conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1_\2/downsample_bn"),
)
resnet: Rename = partial(by_table, RESNET)

DENSENET = (
    (r"features\.(conv0|norm0|norm5)", r"\1"),
    (r"features\.(transition\d)\.(norm|conv)", r"\1/\2"),
    # torchvision's first files have `norm.1` where its code has `norm1`.
    (
        r"features\.(denseblock\d)\.(denselayer\d+)\.(norm|conv)\.?([12])",
        r"\1_\2/\3\4",
    ),
)
densenet: Rename = partial(by_table, DENSENET)


def vgg(modules: Modules) -> dict[str, str]:
    """Returns Caffe's names for torchvision's layer indices; each pooling begins a stage.

    >>> names = [f"features.{i}" for i in (0, 2, 5, 7, 10)]
    >>> list(vgg(dict.fromkeys(names, set())).values())
    ['conv1_1', 'conv1_2', 'conv2_1', 'conv2_2', 'conv3_1']
    """
    indices = {
        int(match[1]): module
        for module in modules
        if (match := re.fullmatch(r"features\.(\d+)", module))
    }
    norms = {i for i, module in indices.items() if "running_mean" in modules[module]}
    convs = sorted(set(indices) - norms)
    layers_a_convolution = 3 if norms else 2
    paths, stage, number = {}, 1, 1
    for i, following in pairwise([*convs, 10**6]):
        paths[indices[i]] = f"conv{stage}_{number}"
        if i + 1 in norms:
            paths[indices[i + 1]] = f"bn{stage}_{number}"
        same = following - i <= layers_a_convolution
        stage, number = (stage, number + 1) if same else (stage + 1, 1)
    return paths


_PARTS = ("expand", "depthwise", "project")


def mobilenet_v3(modules: Modules) -> dict[str, str]:
    """Returns our paths for torchvision's modules, which are numbered within a block."""
    table = [
        (r"(?:features\.)?(\d+)\.0", r"features_\1/conv"),
        (r"(?:features\.)?(\d+)\.1", r"features_\1/norm"),
        (
            r"(?:features\.)?(\d+)\.block\.\d\.(fc[12])",
            r"features_\1/squeeze_excite/\2",
        ),
    ]
    found = [re.fullmatch(r"((?:features\.)?(\d+)\.block)\.(\d)\.0", name) for name in modules]
    blocks: dict[tuple[str, str], list[str]] = {}
    for match in filter(None, found):
        blocks.setdefault((match[1], match[2]), []).append(match[3])
    for (block, i), numbers in blocks.items():
        for number, part in zip(sorted(numbers), _PARTS[-len(numbers) :], strict=False):
            place = re.escape(f"{block}.{number}")
            table += [
                (rf"{place}\.0", f"features_{i}/{part}/conv"),
                (rf"{place}\.1", f"features_{i}/{part}/norm"),
            ]
    return by_table(table, modules)


def timm_mobilenet_v3(modules: Modules) -> dict[str, str]:
    """Returns our paths for timm's modules, whose blocks are numbered by stage."""
    table = [("conv_stem", "features_0/conv"), ("bn1", "features_0/norm")]
    for i, block in enumerate(_timm_blocks(modules), start=1):
        convs = [f"{block}.{name}" for name in ("conv_pw", "conv_dw", "conv_pwl", "conv")]
        if convs[2] not in modules:  # No expansion: conv_pw is the convolution after conv_dw.
            convs = [convs[1], convs[0], convs[3]]
        convs = [conv for conv in convs if conv in modules]
        parts = [f"{part}/" for part in _PARTS[-len(convs) :]] if len(convs) > 1 else [""]
        for n, (conv, part) in enumerate(zip(convs, parts, strict=False), start=1):
            table += [
                (re.escape(conv), f"features_{i}/{part}conv"),
                (re.escape(f"{block}.bn{n}"), f"features_{i}/{part}norm"),
            ]
        squeeze = re.escape(f"{block}.se.conv_")
        table += [
            (f"{squeeze}reduce", f"features_{i}/squeeze_excite/fc1"),
            (f"{squeeze}expand", f"features_{i}/squeeze_excite/fc2"),
        ]
    return by_table(table, modules)


def _timm_blocks(modules: Modules) -> list[str]:
    found = [re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in modules]
    numbers = sorted({(int(match[1]), int(match[2])) for match in found if match})
    return [f"blocks.{stage}.{number}" for stage, number in numbers]


def timm_xception(modules: Modules) -> dict[str, str]:
    """Returns our paths for timm's modules; blocks with a shortcut are entry or exit blocks."""
    found = [re.match(r"blocks\.(\d+)\.", name) for name in modules]
    blocks = sorted({int(match[1]) for match in found if match})
    shortcut = [i for i in blocks if f"blocks.{i}.shortcut.conv" in modules]
    last = len(blocks) - 1
    middle = [i for i in blocks if i not in shortcut and i != last]
    table = [
        (r"stem\.0\.conv", "entry_flow_conv1_1/conv"),
        (r"stem\.0\.bn", "entry_flow_conv1_1/norm"),
        (r"stem\.1\.conv", "entry_flow_conv1_2/conv"),
        (r"stem\.1\.bn", "entry_flow_conv1_2/norm"),
    ]
    for i in blocks:
        if i in middle:
            ours = f"middle_flow_block1_unit_{middle.index(i) + 1}"
        elif i >= last - 1:
            ours = f"exit_flow_block{i - last + 2}_unit_1"
        else:
            ours = f"entry_flow_block{i + 1}_unit_1"
        conv = rf"blocks\.{i}\.stack\.conv(\d)\."
        table += [
            (f"{conv}conv_dw", rf"{ours}/separable_conv\1/depthwise/conv"),
            (f"{conv}bn_dw", rf"{ours}/separable_conv\1/depthwise/norm"),
            (f"{conv}conv_pw", rf"{ours}/separable_conv\1/pointwise/conv"),
            (f"{conv}bn_pw", rf"{ours}/separable_conv\1/pointwise/norm"),
            (rf"blocks\.{i}\.shortcut\.conv", f"{ours}/shortcut/conv"),
            (rf"blocks\.{i}\.shortcut\.bn", f"{ours}/shortcut/norm"),
        ]
    return by_table(table, modules)
