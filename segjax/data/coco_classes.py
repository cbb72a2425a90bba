"""COCO's classes by category id: 80 things, COCO-Stuff's 91 kinds of stuff, panoptic's 53.

Things have ids from 1 to 90 with gaps, stuff those from 92 to 182, and the kinds of stuff that
the panoptic task merges from others those from 184 to 200.
"""

THING_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire
hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports
ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine
glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot
dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
vase, scissors, teddy bear, hair drier, toothbrush
"""

NO_THINGS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids that were planned and have no objects, beside 91."""

STUFF_NAMES = """
banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff,
dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower,
fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves,
light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug,
salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
window-other, wood
"""

MERGED_NAMES = """
tree-merged, fence-merged, ceiling-merged, sky-other-merged, cabinet-merged, table-merged,
floor-other-merged, pavement-merged, mountain-merged, grass-merged, dirt-merged, paper-merged,
food-other-merged, building-other-merged, rock-merged, wall-other-merged, rug-merged
"""

KEPT = (
    92,
    93,
    95,
    100,
    107,
    109,
    112,
    118,
    119,
    122,
    125,
    128,
    130,
    133,
    138,
    141,
    144,
    145,
    147,
    148,
    149,
    151,
    154,
    155,
    156,
    159,
    161,
    166,
    168,
    171,
    175,
    176,
    177,
    178,
    180,
    181,
)
"""Kinds of stuff that the panoptic task takes as they are."""


def _listed(names: str) -> list[str]:
    return [" ".join(name.split()) for name in names.split(",")]


_THING_IDS = (number for number in range(1, 91) if number not in NO_THINGS)

THINGS = dict(zip(_THING_IDS, _listed(THING_NAMES), strict=True))
"""{category id: name} of the 80 kinds of objects."""

STUFF = dict(enumerate(_listed(STUFF_NAMES), 92))
"""{category id: name} of the 91 kinds of stuff."""

PANOPTIC = {
    **THINGS,
    **{number: STUFF[number] for number in KEPT},
    **dict(enumerate(_listed(MERGED_NAMES), 184)),
}
"""{category id: name} of the 133 classes of the panoptic task."""

VOC_CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""The category of each of VOC's classes, in their order; 0 is the background."""
