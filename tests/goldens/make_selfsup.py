"""Makes selfsup.json: `python3 tests/goldens/make_selfsup.py`.

Two steps of self-supervised pre-training on fixed tensors, from SimCLR's equation 1 and not from train/:
of places in images, and of whole images. The networks and the hash that fills them are make.py's.

Needs torch and numpy (Debian: python3-torch). Takes a few seconds.
"""

from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import make
from make import DeepLab, filled, images, labels, signed
from make_stages import CLASSES, CROP, NETWORK, SGD, STEPS, case, sgd

VIEWS = 4  # the first views of two images, then the second ones


def backbone_of(dtype):
    network = DeepLab(**NETWORK)
    network.layer5 = nn.Identity()  # in the place of the head
    return filled(network, dtype)


def projection_of(channels, dtype):
    inputs = 32 * NETWORK["width"]
    layers = nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, channels))
    return filled(nn.Sequential(OrderedDict(projection=layers)), dtype)


def views_of(domain, dtype):
    label = labels(f"{domain}.labels", STEPS * VIEWS, *CROP, CLASSES)
    return images(f"{domain}.images", label).to(dtype).split(VIEWS)


def places_of(domain, count, dtype):
    """Column and row in pixels of the views of all steps."""
    values = signed(f"{domain}.places", STEPS * VIEWS * count * 2).astype(np.float64).reshape(-1, 2)
    pixels = ((values + 1) / 2 * [CROP[1] - 1, CROP[0] - 1]).astype(np.float32)
    return torch.from_numpy(pixels).to(dtype).reshape(STEPS, VIEWS, count, 2)


def nt_xent(rows, temperature):
    """SimCLR's equation 1, row by row; a row's other view is half of all rows further on."""
    count = len(rows)
    losses = []
    for i in range(count):
        similarities = torch.stack([F.cosine_similarity(rows[i], rows[k], 0) for k in range(count)]) / temperature
        others = torch.cat([similarities[:i], similarities[i + 1:]])
        losses.append(others.logsumexp(0) - similarities[(i + count // 2) % count])
    return torch.stack(losses).mean()


def pretrain(options, dtype):
    network, projection = backbone_of(dtype), projection_of(options["projectionChannels"], dtype)
    faster = {**options, "learningRate": options["learningRate"] * options["headFactor"]}
    update, update_projection = sgd(network, options), sgd(projection, faster)
    size = torch.tensor([CROP[1] - 1, CROP[0] - 1], dtype=dtype)
    losses = []
    for step in range(STEPS):
        found = {}
        for domain in ("source", "target"):
            features = network(views_of(domain, dtype)[step])
            if options["places"] > 0:
                grid = (2 * places_of(domain, options["places"], dtype)[step] / size - 1)[:, :, None]
                rows = F.grid_sample(features, grid, padding_mode="border", align_corners=True)[..., 0]
                rows = rows.transpose(1, 2).reshape(-1, features.shape[1])
            else:
                rows = features.mean((2, 3))
            loss = nt_xent(projection(rows), options["temperature"])
            loss.backward()
            found[domain] = loss.item()
        update(step)
        update_projection(step)
        losses.append(found)
    return losses, {"network": network, "projection": projection}


def starts(name, dtype, options):
    module = backbone_of(dtype) if name == "network" else projection_of(options["projectionChannels"], dtype)
    return [p.detach() for p in module.parameters()]


if __name__ == "__main__":
    torch.set_num_threads(2)
    options = {**SGD, "temperature": 0.2, "projectionChannels": 6}
    make.write("selfsup", {
        "places": case("places", pretrain, "3", {**options, "places": 3}, starts),
        "images": case("images", pretrain, "1", {**options, "places": 0}, starts),
    })
