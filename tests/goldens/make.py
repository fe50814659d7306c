"""Makes the PyTorch goldens beside this file: `python3 tests/goldens/make.py [name ...]`.

An independent definition of the networks (from the description of the method, not from nn/), run in
float64 on the CPU. Weights, images and labels come from an integer hash that fill.ts repeats bit
for bit, so nothing large is stored. Every file records how far PyTorch's own float32 is from its
float64 (`float32Deviation`), which says what a float32 implementation can reach.

Needs torch and numpy (Debian: python3-torch). Takes about two minutes on two cores.
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

VERSION = 1  # raise when the meaning of a field changes, together with GOLDEN_VERSION in fill.ts
FOLDER = pathlib.Path(__file__).parent
IGNORE = 255
SAMPLES = 8  # values kept of every gradient and update


# --- the hash: 32-bit FNV-1a of the name, a Weyl sequence over the index, MurmurHash3's finaliser ---

# Part of every name, chosen for each golden so that no activation lies within rounding error of a
# kink, where a gradient jumps and even PyTorch's float32 leaves its float64.
SALT = "0"


def hash32(name, count):
    seed = 0x811C9DC5
    for byte in f"{SALT}/{name}".encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    h = (np.arange(count, dtype=np.uint64) * 0x9E3779B9 + seed) & 0xFFFFFFFF
    h ^= h >> np.uint64(16)
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h ^= h >> np.uint64(13)
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    h ^= h >> np.uint64(16)
    return h


def signed(name, count):
    """float32 in [-1, 1), 24 bits."""
    return ((hash32(name, count) >> np.uint64(8)).astype(np.float64) * 2.0**-23 - 1.0).astype(np.float32)


def parameter(name, shape):
    values = signed(name, math.prod(shape))
    if len(shape) > 1:
        values = values * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    else:
        values = np.float32(name.endswith("weight")) + np.float32(0.25) * values
    return torch.from_numpy(values.reshape(shape))


def uniform(name, shape):
    return torch.from_numpy(signed(name, math.prod(shape)).reshape(shape))


def labels(name, images, height, width, classes):
    """8x8 blocks of one class, about one block in ten ignored."""
    rows, columns = -(-height // 8), -(-width // 8)
    h = hash32(name, images * rows * columns)
    blocks = np.where((h >> np.uint64(16)) % 10 == 0, IGNORE, h % classes)
    blocks = blocks.reshape(images, rows, columns).repeat(8, 1).repeat(8, 2)
    return torch.from_numpy(blocks[:, :height, :width].astype(np.int64).copy())


def images(name, label):
    """Three quarters colour of the class, one quarter noise."""
    count, height, width = label.shape
    colours = (signed("colours", 256 * 3) * np.float32(0.5) + np.float32(0.5)).reshape(256, 3)
    noise = signed(name, count * 3 * height * width).reshape(count, 3, height, width)
    noise = noise * np.float32(0.5) + np.float32(0.5)
    base = colours[label.numpy()].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.float32(0.75) * base + np.float32(0.25) * noise)


# --- the networks ---

class Block(nn.Module):
    def __init__(self, inputs, planes, stride, dilation, project):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))
            if project else None
        )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = max(1, channels // 16)
        self.se = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x):
        return x * self.se(x.mean((2, 3)))[:, :, None, None]


class ProdaHead(nn.Module):
    def __init__(self, inputs, channels, groups, dilations, classes):
        super().__init__()
        def branch(kernel, dilation):
            return nn.Sequential(
                nn.Conv2d(inputs, channels, kernel, 1, dilation if kernel == 3 else 0, dilation),
                nn.GroupNorm(groups, channels), nn.ReLU())
        self.conv2d_list = nn.ModuleList([branch(1, 1)] + [branch(3, d) for d in dilations])
        total = channels * (1 + len(dilations))
        self.bottleneck = nn.Sequential(
            SqueezeExcite(total), nn.Conv2d(total, channels, 3, 1, 1), nn.GroupNorm(groups, channels))
        self.head = nn.Sequential(nn.Identity(), nn.Conv2d(channels, classes, 1, bias=False))

    def forward(self, x):
        features = self.bottleneck(torch.cat([branch(x) for branch in self.conv2d_list], 1))
        return features, self.head(features)


class ClassicHead(nn.Module):
    def __init__(self, inputs, dilations, classes):
        super().__init__()
        self.conv2d_list = nn.ModuleList([nn.Conv2d(inputs, classes, 3, 1, d, d) for d in dilations])

    def forward(self, x):
        return x, sum(branch(x) for branch in self.conv2d_list)


class DeepLab(nn.Module):
    def __init__(self, blocks, width, classes, head, headChannels, groups, dilations, featureNorm):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for index, (count, stride, dilation) in enumerate(zip(blocks, [1, 2, 1, 1], [1, 1, 2, 4])):
            planes = width << index
            layer = [Block(inputs, planes, stride, dilation,
                           stride != 1 or inputs != 4 * planes or dilation in (2, 4))]
            inputs = 4 * planes
            layer += [Block(inputs, planes, 1, dilation, False) for _ in range(count - 1)]
            setattr(self, f"layer{index + 1}", nn.Sequential(*layer))
        self.layer5 = (ProdaHead(inputs, headChannels, groups, dilations, classes) if head == "proda"
                       else ClassicHead(inputs, dilations, classes))
        if featureNorm:
            self.bn_pretrain = nn.BatchNorm2d(inputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        if hasattr(self, "bn_pretrain"):
            x = self.bn_pretrain(x)
        return self.layer5(x)


class Discriminator(nn.Module):
    def __init__(self, inputs, planes):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, 2, 1)
        self.conv2 = nn.Conv2d(planes, 2 * planes, 3, 2, 1)
        self.conv3 = nn.Conv2d(2 * planes, 4 * planes, 3, 2, 1)
        self.conv4 = nn.Conv2d(4 * planes, 8 * planes, 3, 2, 1)
        self.classifier = nn.Conv2d(8 * planes, 1, 1)

    def forward(self, x):
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        return self.classifier(F.leaky_relu(self.conv4(x), 0.2))


def filled(network, dtype):
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(parameter(name, tuple(value.shape)))
    return network.to(dtype).train()


# --- what a golden keeps of a tensor ---

def numbers(values):
    return [float(f"{v:.7g}") for v in values]


def whole(value):
    return {"shape": list(value.shape), "values": numbers(value.detach().double().flatten().tolist())}


def stride_of(count, samples):
    stride = max(1, count // samples)
    return stride - 1 if stride > 2 and stride % 2 == 0 else stride  # odd, to walk over all columns


def summary(value, samples=SAMPLES):
    flat = value.detach().double().flatten()
    stride = stride_of(flat.numel(), samples)
    return {"norm": float(f"{flat.norm().item():.9g}"), "stride": stride,
            "sample": numbers(flat[::stride][:samples].tolist())}


def deviation(value, truth):
    """Largest difference over the largest magnitude."""
    return ((value.double() - truth).abs().max() / truth.abs().max().clamp_min(1e-30)).item()


def write(name, golden):
    torch_version = torch.__version__.split("a")[0]
    golden = {"version": VERSION, "torch": torch_version, **golden}
    lines = json.dumps(golden, indent=1)
    # One line an array of numbers, for diffs that can be read.
    out, depth = [], 0
    for line in lines.split("\n"):
        text = line.strip()
        if depth:
            out[-1] += text if out[-1].endswith("[") or text.startswith("]") else " " + text
        else:
            out.append(line)
        if text.endswith("["):
            depth += 1
        elif text.rstrip(",") == "]":
            depth -= 1
    path = FOLDER / f"{name}.json"
    path.write_text("\n".join(out) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


# --- goldens ---

def step_loss(network, image, label):
    features, logits = network(image)
    full = F.interpolate(logits, size=label.shape[1:], mode="bilinear", align_corners=True)
    return features, logits, F.cross_entropy(full, label, ignore_index=IGNORE)


def optimiser_of(network, rate, momentum=0.9, decay=2e-4):
    head = [p for n, p in network.named_parameters() if n.split(".")[0] in ("layer5", "bn_pretrain")]
    backbone = [p for n, p in network.named_parameters() if n.split(".")[0] not in ("layer5", "bn_pretrain")]
    return torch.optim.SGD([{"params": backbone, "lr": rate}, {"params": head, "lr": 10 * rate}],
                           lr=rate, momentum=momentum, weight_decay=decay)


def one_step(config, crop, rate, dtype):
    network = filled(DeepLab(**config), dtype)
    label = labels("step.labels", 2, *crop, config["classes"])
    image = images("step.images", label).to(dtype)
    features, logits, loss = step_loss(network, image, label)
    loss.backward()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    gradients = {n: p.grad.clone() for n, p in network.named_parameters()}
    optimiser_of(network, rate).step()
    updates = {n: p.detach() - before[n] for n, p in network.named_parameters()}
    buffers = {n: b.clone() for n, b in network.named_buffers() if not n.endswith("num_batches_tracked")}
    network.eval()
    with torch.no_grad():
        evaluated = network(image)[1]
    return features, logits, loss, gradients, updates, buffers, evaluated


def curve(config, crop, rate, steps, dtype):
    network = filled(DeepLab(**config), dtype)
    label = labels("curve.labels", 4, *crop, config["classes"])
    image = images("curve.images", label).to(dtype)
    optimiser = optimiser_of(network, rate)
    losses = []
    for step in range(steps):
        pair = slice(2 * (step % 2), 2 * (step % 2) + 2)
        optimiser.zero_grad()
        loss = step_loss(network, image[pair], label[pair])[2]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def deeplab(name, config, salt, rate, curve_rate, crop=(64, 97), curve_crop=(33, 49), steps=20):
    global SALT
    SALT = salt
    features, logits, loss, gradients, updates, buffers, evaluated = one_step(config, crop, rate, torch.float64)
    single = one_step(config, crop, rate, torch.float32)
    losses = curve(config, curve_crop, curve_rate, steps, torch.float64)
    losses32 = curve(config, curve_crop, curve_rate, steps, torch.float32)
    write(name, {
        "salt": salt, "network": config,
        "step": {
            "crop": crop, "images": 2, "rate": rate, "headRate": 10 * rate, "momentum": 0.9, "weightDecay": 2e-4,
            "logits": whole(logits), "features": {"shape": list(features.shape), **summary(features, 500)},
            "loss": loss.item(),
            "gradients": {n: {"shape": list(g.shape), **summary(g)} for n, g in gradients.items()},
            "updates": {n: summary(u) for n, u in updates.items()},
            "buffers": {n: summary(b) for n, b in buffers.items()},
            "evaluatedLogits": summary(evaluated, 200),
            "float32Deviation": {
                "logits": deviation(single[1], logits), "features": deviation(single[0], features),
                "loss": abs(single[2].item() - loss.item()) / loss.item(),
                "gradientNorm": max(abs(single[3][n].double().norm() / g.norm() - 1).item() for n, g in gradients.items()),
                "gradient": max(deviation(single[3][n], g) for n, g in gradients.items()),
                "update": max(deviation(single[4][n], u) for n, u in updates.items()),
                "evaluatedLogits": deviation(single[6], evaluated),
            },
        },
        "curve": {
            "crop": curve_crop, "images": 4, "rate": curve_rate, "headRate": 10 * curve_rate, "momentum": 0.9,
            "weightDecay": 2e-4, "losses": losses,
            "float32Deviation": max(abs(a / b - 1) for a, b in zip(losses32, losses)),
        },
    })


def discriminator():
    global SALT
    SALT = "0"
    classes, planes, crop, rate, steps = 5, 8, (37, 50), 1e-2, 3
    network = filled(Discriminator(classes, planes), torch.float64)
    logits = uniform("discriminator.logits", (2, classes, 5, 7)).double().mul(4).requires_grad_()
    def output_of():
        full = F.interpolate(logits, size=crop, mode="bilinear", align_corners=True)
        return network(F.softmax(full, 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    output = output_of()
    loss = (output - 1).pow(2).mean()
    loss.backward()
    golden = {
        "classes": classes, "planes": planes, "crop": crop, "rate": rate, "betas": [0.9, 0.99], "steps": steps,
        "output": whole(output), "loss": loss.item(), "gradInput": whole(logits.grad),
        "gradients": {n: {"shape": list(p.grad.shape), **summary(p.grad)} for n, p in network.named_parameters()},
    }
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (output_of() - 1).pow(2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    write("discriminator", {"salt": SALT, **golden, "losses": losses,
                            "parameters": {n: summary(p) for n, p in network.named_parameters()}})


def operations():
    """Operations whose PyTorch definition is easily missed. gradOutput is a fixed hash."""
    global SALT
    SALT = "0"
    cases = []

    def case(operation, shapes, options, run):
        name = f"{operation}{len(cases)}"
        inputs = [uniform(f"{name}.input{i}", s).double().requires_grad_() for i, s in enumerate(shapes)]
        output, extra = run(*inputs)
        (output * uniform(f"{name}.gradOutput", tuple(output.shape) or (1,)).double().reshape(output.shape)).sum().backward()
        cases.append({"name": name, "operation": operation, "shapes": [list(s) for s in shapes], "options": options,
                      "output": whole(output), "gradients": [whole(i.grad) for i in inputs],
                      **{k: whole(v) for k, v in extra.items()}})

    for height, width in [(7, 8), (6, 5), (2, 3), (1, 4)]:
        case("maxPool2d", [(2, 3, height, width)], {"kernel": 3, "stride": 2, "padding": 1, "ceilMode": True},
             lambda x: (F.max_pool2d(x, 3, 2, 1, ceil_mode=True), {}))
    case("maxPool2d", [(1, 2, 6, 7)], {"kernel": 3, "stride": 2, "padding": 1, "ceilMode": False},
         lambda x: (F.max_pool2d(x, 3, 2, 1), {}))
    # A window that would start beyond the input is dropped even in ceil mode.
    case("maxPool2d", [(1, 1, 5, 3)], {"kernel": 1, "stride": 3, "padding": 0, "ceilMode": True},
         lambda x: (F.max_pool2d(x, 1, 3, 0, ceil_mode=True), {}))

    for training in (True, False):
        def norm(x, weight, bias):
            mean = uniform("batchNorm.runningMean", (3,)).double()
            variance = uniform("batchNorm.runningVar", (3,)).double() + 2
            y = F.batch_norm(x, mean, variance, weight, bias, training, 0.1, 1e-5)
            return y, {"runningMean": mean, "runningVar": variance}
        case("batchNorm", [(2, 3, 3, 5), (3,), (3,)], {"training": training, "momentum": 0.1, "eps": 1e-5}, norm)
    case("groupNorm", [(2, 6, 3, 5), (6,), (6,)], {"groups": 3, "eps": 1e-5},
         lambda x, weight, bias: (F.group_norm(x, 3, weight, bias, 1e-5), {}))
    for source, target in [((4, 5), (9, 13)), ((9, 7), (4, 3)), ((1, 3), (5, 1)), ((3, 1), (1, 4))]:
        case("resizeBilinear", [(2, 2, *source)], {"height": target[0], "width": target[1]},
             lambda x, t=target: (F.interpolate(x, size=t, mode="bilinear", align_corners=True), {}))
    case("crossEntropy", [(2, 4, 9, 6)], {"ignore": IGNORE},
         lambda x: (F.cross_entropy(x, labels("crossEntropy.labels", 2, 9, 6, 4), ignore_index=IGNORE), {}))
    for stride, padding, dilation, kernel in [(2, 3, 1, 7), (1, 4, 4, 3), (2, 0, 1, 1), (1, 24, 24, 3)]:
        case("conv2d", [(1, 3, 9, 10), (2, 3, kernel, kernel), (2,)],
             {"stride": stride, "padding": padding, "dilation": dilation},
             lambda x, w, b, s=stride, p=padding, d=dilation: (F.conv2d(x, w, b, s, p, d), {}))
    write("operations", {"salt": SALT, "cases": cases})


def safetensors():
    """A file written here, byte by byte, for the reader: every number type, a scalar, an empty tensor."""
    values = np.arange(-4, 5, dtype=np.float32) / np.float32(3)
    bits = values.view(np.uint32)
    bfloat = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    tensors = [
        ("single", "F32", [3, 3], values.tobytes()), ("half", "F16", [3, 3], values.astype(np.float16).tobytes()),
        ("bfloat", "BF16", [9], bfloat.tobytes()), ("double", "F64", [9], values.astype(np.float64).tobytes()),
        ("tracked", "I64", [], struct.pack("<q", 62412)), ("ids", "U32", [2], struct.pack("<II", 7, 0xFFFFFFFF)),
        ("bytes", "U8", [2], b"\x01\xff"), ("nothing", "F32", [0, 4], b""),
    ]
    header, offset = {"__metadata__": {"format": "pt", "note": 'quote " and \u00fc'}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = FOLDER / "types.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors))
    print(f"{path.name}: {path.stat().st_size} bytes")


SMALL = {"blocks": [1, 1, 1, 1], "width": 64, "classes": 19, "head": "proda", "headChannels": 256, "groups": 32,
         "dilations": [6, 12, 18, 24], "featureNorm": False}
TINY = {"blocks": [1, 2, 1, 2], "width": 8, "classes": 5, "head": "proda", "headChannels": 32, "groups": 8,
        "dilations": [6, 12, 18, 24], "featureNorm": True}
CLASSIC = {**TINY, "blocks": [1, 1, 1, 1], "head": "classic", "featureNorm": False}

GOLDENS = {
    "safetensors": safetensors,
    "operations": operations,
    "discriminator": discriminator,
    "tiny": lambda: deeplab("tiny", TINY, "6", 0.05, 0.00025),
    "classic": lambda: deeplab("classic", CLASSIC, "1", 0.01, 0.001),
    "small": lambda: deeplab("small", SMALL, "13", 0.05, 0.00025),
}

if __name__ == "__main__":
    torch.set_num_threads(2)
    for chosen in sys.argv[1:] or GOLDENS:
        GOLDENS[chosen]()
