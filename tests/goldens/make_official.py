"""Makes official.json and resnet101.json: `python3 tests/goldens/make_official.py [official|resnet101]`.

One step of stage 1 with the official head of 256 channels and 19 classes, behind a network of five
blocks at full width and behind ResNet-101, on one image a domain of 65 × 65 pixels. The equations are
make_stages.py's. The rate is the same for every parameter, so that what is added to one is its gradient
times that, and the momentum encoder and the prototypes move by a tenth.

Needs torch and numpy (Debian: python3-torch). Takes half a minute and two minutes, and 4 GiB of memory.
"""

import functools
import sys

import torch

import make
import make_stages as stages

# Blocks of the four layers, the salt, and the rate: rounding in a hundred layers is more than 1e-4 of a gradient, and must
# not be of a parameter.
NETWORKS = {"official": ([1, 1, 2, 1], "2", 1), "resnet101": ([3, 4, 23, 3], "1", 0.01)}
NETWORK = {"width": 64, "classes": 19, "head": "proda", "headChannels": 256, "groups": 32,
           "dilations": [6, 12, 18, 24], "featureNorm": False}
VIEWS = [[[{"kind": "flip"}, {"kind": "translate", "x": 8, "y": -4},
           {"kind": "cutout", "left": 18, "top": 10, "width": 21, "height": 21}]]]

# Every 19th of 4864 values of the prototypes is kept: some of every class.
vars(stages).update(CLASSES=19, CROP=(65, 65), QUARTER=(17, 17), STEPS=1, BATCH=1, PROTOTYPE_STRIDE=19)
drawn = make.parameter


@functools.cache
def calmed(name, shape):
    """What a block adds is an eighth of what is drawn, which keeps float32 near float64 at the start of the network."""
    return drawn(name, shape) * (0.125 if name.endswith("bn3.weight") else 1)


make.parameter = calmed

if __name__ == "__main__":
    torch.set_num_threads(2)
    options = {**stages.STAGE1, "headFactor": 1, "prototypeDecay": 0.9, "emaDecay": 0.9,
               "encoderStatistics": "batch", "views": VIEWS}
    for name in sys.argv[1:] or NETWORKS:
        blocks, salt, options["learningRate"] = NETWORKS[name]
        stages.NETWORK = {"blocks": blocks, **NETWORK}
        make.write(name, {"network": stages.NETWORK, "crop": stages.CROP, "quarter": stages.QUARTER, "steps": 1, "batch": 1,
                          "stage1": stages.case("stage1", stages.denoise, salt, options)})
