"""Makes official.json: `python3 tests/goldens/make_official.py`.

One step of stage 1 with the official head of 256 channels and 19 classes, behind a network of five
blocks at full width, on one image a domain of 65 × 65 pixels. The equations are make_stages.py's. The
rate is 1 for every parameter, so that what is added to one is its gradient, and the momentum encoder
and the prototypes move by a tenth.

Needs torch and numpy (Debian: python3-torch). Takes half a minute.
"""

import functools

import torch

import make
import make_stages as stages

NETWORK = {"blocks": [1, 1, 2, 1], "width": 64, "classes": 19, "head": "proda", "headChannels": 256, "groups": 32,
           "dilations": [6, 12, 18, 24], "featureNorm": False}
SALT = "2"
VIEWS = [[[{"kind": "flip"}, {"kind": "translate", "x": 8, "y": -4},
           {"kind": "cutout", "left": 18, "top": 10, "width": 21, "height": 21}]]]

# Every 19th of 4864 values of the prototypes is kept: some of every class.
vars(stages).update(NETWORK=NETWORK, CLASSES=19, CROP=(65, 65), QUARTER=(17, 17), STEPS=1, BATCH=1, PROTOTYPE_STRIDE=19)
drawn = make.parameter


@functools.cache
def calmed(name, shape):
    """What a block adds is an eighth of what is drawn, which keeps float32 near float64 at the start of the network."""
    return drawn(name, shape) * (0.125 if name.endswith("bn3.weight") else 1)


make.parameter = calmed

if __name__ == "__main__":
    torch.set_num_threads(2)
    options = {**stages.STAGE1, "learningRate": 1, "headFactor": 1, "prototypeDecay": 0.9, "emaDecay": 0.9,
               "encoderStatistics": "batch", "views": VIEWS}
    make.write("official", {"network": NETWORK, "crop": stages.CROP, "quarter": stages.QUARTER, "steps": 1, "batch": 1,
                            "stage1": stages.case("stage1", stages.denoise, SALT, options)})
