"""What gpu:verify measures here, in PyTorch: `python3 bench/pytorch_step.py > pytorch.md`.

The same matrix products and convolutions with both gradients, and a step of source-only and of stage 1
on the networks of `streets`, R50 and R101 (the presets `default` and `full`), with the same passes,
losses and updates as train/stages/. In fp32 with TF32 off and, on a GPU that has it, with TF32 on. Run
both on one card in one session. Needs torch alone; `--device cpu --quick` tries it in a minute.
"""

import argparse
import copy
import platform
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

IGNORE = 255

# name, images and their shape, outputs, kernel, stride, padding, dilation; as in bench/verify/shapes.ts
CONVOLUTIONS = [
    ("S1 3×3 64→64 [4, 64, 32, 64]", (4, 64, 32, 64), 64, 3, 1, 1, 1),
    ("S2 3×3 d2 256→256 [4, 256, 16, 32]", (4, 256, 16, 32), 256, 3, 1, 2, 2),
    ("S3 1×1 256→64 [4, 256, 32, 64]", (4, 256, 32, 64), 64, 1, 1, 0, 1),
    ("S4 7×7 s2 3→64 [4, 3, 128, 256]", (4, 3, 128, 256), 64, 7, 2, 3, 1),
    ("3×3 d2 256→256 [4, 256, 64, 112]", (4, 256, 64, 112), 256, 3, 1, 2, 2),
    ("1×1 1024→256 [4, 1024, 64, 112]", (4, 1024, 64, 112), 256, 1, 1, 0, 1),
    ("1×1 256→1024 [4, 256, 64, 112]", (4, 256, 64, 112), 1024, 1, 1, 0, 1),
    ("ASPP 3×3 d12 2048→256 [1, 2048, 64, 112]", (1, 2048, 64, 112), 256, 3, 1, 12, 12),
    ("3×3 s2 64→128 [4, 64, 32, 64]", (4, 64, 32, 64), 128, 3, 2, 1, 1),
    ("ASPP 3×3 d8 512→64 [4, 512, 12, 24]", (4, 512, 12, 24), 64, 3, 1, 8, 8),
    *((f"ASPP 3×3 d{d} 2048→256 [1, 2048, 32, 32]", (1, 2048, 32, 32), 256, 3, 1, d, d)
      for d in (6, 12, 18, 24)),
]
PRODUCTS = [4096, 1024]

STREETS = {
    "blocks": [1, 1, 1, 1], "width": 8, "channels": 32, "groups": 8, "dilations": [1, 2, 4, 6],
    "classes": 8, "crop": (96, 192), "batch": 4,
    "student": "strong", "labels": "soft", "encoder": "batch", "alpha": 1, "beta": 1, "gamma1": 10,
    "gamma2": 0.0125, "prototype_decay": 0.99, "ema_decay": 0.99, "rate": 0.02, "head_factor": 1,
}
R101 = {
    "blocks": [3, 4, 23, 3], "width": 64, "channels": 256, "groups": 32, "dilations": [6, 12, 18, 24],
    "classes": 19, "crop": (512, 896), "batch": 4,
    "student": "weak", "labels": "hard", "encoder": "running", "alpha": 0.1, "beta": 1, "gamma1": 10,
    "gamma2": 0.1, "prototype_decay": 0.9999, "ema_decay": 0.999, "rate": 1e-4, "head_factor": 1,
}
NETWORKS = {"streets": STREETS, "R50": {**R101, "blocks": [3, 4, 6, 3]}, "R101": R101}


# --- the network ---

class Bottleneck(nn.Module):
    def __init__(self, inputs, planes, stride, dilation, first):
        super().__init__()
        outputs = 4 * planes
        self.body = nn.Sequential(
            nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes), nn.ReLU(True),
            nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False), nn.BatchNorm2d(planes),
            nn.ReLU(True),
            nn.Conv2d(planes, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False),
            nn.BatchNorm2d(outputs)) if first else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), True)


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = max(1, channels // 16)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(True), nn.Linear(hidden, channels),
                                    nn.Sigmoid())

    def forward(self, x):
        return x * self.layers(x.mean((2, 3)))[:, :, None, None]


class Network(nn.Module):
    def __init__(self, blocks, width, channels, groups, dilations, classes, **_):
        super().__init__()
        layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                  nn.MaxPool2d(3, 2, 1, ceil_mode=True)]
        inputs = width
        for index, (count, stride, dilation) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4))):
            planes = width * 2 ** index
            for block in range(count):
                layers.append(Bottleneck(inputs, planes, stride if block == 0 else 1, dilation, block == 0))
                inputs = 4 * planes
        self.backbone = nn.Sequential(*layers)
        branches = [(1, 0, 1), *((3, d, d) for d in dilations)]
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, channels, kernel, 1, padding, dilation),
                          nn.GroupNorm(groups, channels), nn.ReLU(True))
            for kernel, padding, dilation in branches)
        total = channels * len(branches)
        self.neck = nn.Sequential(Gate(total), nn.Conv2d(total, channels, 3, 1, 1),
                                  nn.GroupNorm(groups, channels), nn.Dropout2d(0.1))
        self.classifier = nn.Conv2d(channels, classes, 1, bias=False)

    def forward(self, x, size=None):
        """Features and logits, resized where a size is given."""
        x = self.backbone(x)
        features = self.neck(torch.cat([branch(x) for branch in self.branches], 1))
        logits = self.classifier(features)
        return (features, logits) if size is None else (resized(features, size), resized(logits, size))


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


# --- the stages ---

class Trial:
    """A network, its optimiser, and batches of random numbers on the device."""

    def __init__(self, options, device):
        torch.manual_seed(0)
        self.options = options
        self.network = Network(**options).to(device).train()
        head = [*self.network.branches.parameters(), *self.network.neck.parameters(),
                *self.network.classifier.parameters()]
        self.optimiser = torch.optim.SGD([
            {"params": self.network.backbone.parameters()},
            {"params": head, "lr": options["rate"] * options["head_factor"]},
        ], lr=options["rate"], momentum=0.9, weight_decay=2e-4)
        batch, classes, (height, width) = options["batch"], options["classes"], options["crop"]
        self.quarter = (height // 4, width // 4)
        self.source = torch.rand(batch, 3, height, width, device=device)
        self.source_labels = torch.randint(classes, (batch, height, width), device=device)
        self.weak = torch.rand(batch, 3, height, width, device=device)
        self.strong = torch.rand(batch, 3, height, width, device=device)

    def source_loss(self):
        logits = resized(self.network(self.source)[1], self.options["crop"])
        return F.cross_entropy(logits, self.source_labels, ignore_index=IGNORE)

    def update(self):
        self.optimiser.step()
        self.optimiser.zero_grad()


class SourceOnly(Trial):
    def step(self):
        loss = self.source_loss()
        loss.backward()
        self.update()
        return loss.detach()


class Denoise(Trial):
    def __init__(self, options, device):
        super().__init__(options, device)
        self.encoder = copy.deepcopy(self.network).eval()
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d) and options["encoder"] == "batch":
                module.train()
        for parameter in self.encoder.parameters():
            parameter.requires_grad = False
        classes = options["classes"]
        self.prototypes = torch.rand(classes, options["channels"], device=device)
        self.soft = torch.softmax(torch.rand(options["batch"], classes, *self.quarter, device=device), 1)
        flip = torch.tensor([[-1.0, 0, 0], [0, 1, 0]], device=device).expand(options["batch"], 2, 3)
        self.grid = F.affine_grid(flip, (options["batch"], 1, *self.quarter), align_corners=True)

    def distances(self, features):
        """Of every pixel to every prototype, [N, K, h, w]."""
        count, channels, height, width = features.shape
        pixels = features.flatten(2)
        squares = (pixels.square().sum(1, keepdim=True) - 2 * torch.matmul(self.prototypes, pixels)
                   + self.prototypes.square().sum(1)[None, :, None])
        return squares.clamp_min(1e-12).sqrt().reshape(count, -1, height, width)

    def moved(self, x, mode="bilinear"):
        """From the weak to the strong view."""
        return F.grid_sample(x, self.grid, mode, align_corners=True)

    @torch.no_grad()
    def teach(self):
        """Equations 2, 3, 5 and 7."""
        options = self.options
        features, logits = self.encoder(self.weak, self.quarter)
        distances = self.distances(features)
        weighed = torch.softmax(-distances, 1) * self.soft
        soft = weighed / weighed.sum(1, keepdim=True)
        labels = soft.argmax(1)
        if options["student"] == "strong":
            labels = self.moved(labels[:, None].float(), "nearest")[:, 0].long()
            soft = self.moved(soft)
        # The sums of each class: pixels times one-hot predictions.
        one_hot = F.one_hot(logits.argmax(1).flatten(1), options["classes"]).to(features.dtype)
        counts = one_hot.sum(1)
        used = (counts >= 10).to(features.dtype)
        sums = (torch.matmul(features.flatten(2), one_hot).transpose(1, 2) * used[:, :, None]).sum(0)
        counts = (counts * used).sum(0)
        means = sums / counts.clamp_min(1)[:, None]
        decay = options["prototype_decay"]
        moved = torch.where(counts[:, None] > 0, decay * self.prototypes + (1 - decay) * means, self.prototypes)
        return labels, soft, torch.softmax(-self.moved(distances), 1), moved

    def label_loss(self, logits, labels, soft):
        """Equation 6."""
        options = self.options
        log_p = F.log_softmax(logits, 1)
        p = log_p.exp().clamp_min(1e-7)
        if options["labels"] == "soft":
            forward = -(soft * log_p).sum(1).mean()
            reverse = -(p * soft.clamp_min(1e-4).log()).sum(1).mean()
        else:
            one_hot = F.one_hot(labels, options["classes"]).permute(0, 3, 1, 2).to(p.dtype)
            forward = F.nll_loss(log_p, labels, ignore_index=IGNORE)
            reverse = -(p * one_hot.clamp_min(1e-4).log()).sum(1).mean()
        return options["alpha"] * forward + options["beta"] * reverse - options["gamma2"] * log_p.sum(1).mean()

    def step(self):
        options = self.options
        source = self.source_loss()
        source.backward()
        labels, soft, assignment, moved = self.teach()
        if options["student"] == "weak":
            self.label_loss(self.network(self.weak, self.quarter)[1], labels, soft).backward()
        features, logits = self.network(self.strong, self.quarter)
        log_strong = F.log_softmax(-self.distances(features), 1)
        loss = options["gamma1"] * F.kl_div(log_strong, assignment, reduction="none").sum(1).mean()
        if options["student"] == "strong":
            loss = loss + self.label_loss(logits, labels, soft)
        loss.backward()
        self.update()
        self.prototypes = moved
        with torch.no_grad():
            decay = options["ema_decay"]
            theirs, ours = list(self.encoder.parameters()), list(self.network.parameters())
            torch._foreach_mul_(theirs, decay)
            torch._foreach_add_(theirs, ours, alpha=1 - decay)
            for old, new in zip(self.encoder.buffers(), self.network.buffers()):
                old.copy_(new)
        return source.detach() + loss.detach()


# --- the measurements ---

class Bench:
    def __init__(self, device, rounds):
        self.device, self.rounds = device, rounds

    def finish(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, run, rounds=None):
        """The median of some runs, after three that find the fastest algorithm and fill the pool."""
        for _ in range(3):
            run()
        self.finish()
        times = []
        for _ in range(rounds or self.rounds):
            started = time.perf_counter()
            run()
            self.finish()
            times.append(1000 * (time.perf_counter() - started))
        return statistics.median(times)

    def repeated(self, run):
        """Of an operation so short that waiting would count: some runs at once."""
        once = self.milliseconds(run, 1)
        repeats = max(1, min(100, round(20 / max(once, 0.01))))
        return self.milliseconds(lambda: [run() for _ in range(repeats)][-1]) / repeats


def operations(device, quick):
    """Name, floating-point operations, and what to run; one at a time, for the sake of memory."""
    for size in [256] if quick else PRODUCTS:
        a, b = (torch.rand(size, size, device=device) for _ in "ab")
        yield f"matmul {size}", 2 * size ** 3, lambda: a @ b
    for name, shape, outputs, kernel, stride, padding, dilation in CONVOLUTIONS[:4] if quick else CONVOLUTIONS:
        x = torch.rand(shape, device=device) - 0.5
        weight = torch.rand(outputs, shape[1], kernel, kernel, device=device) - 0.5
        geometry = ([stride] * 2, [padding] * 2, [dilation] * 2)
        y = torch.conv2d(x, weight, None, *geometry)
        gradient = torch.rand_like(y)
        flops = 2 * y.numel() * shape[1] * kernel ** 2

        def backward(*mask):
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, *geometry, False, [0, 0], 1, mask)

        yield f"{name} forward", flops, lambda: torch.conv2d(x, weight, None, *geometry)
        yield f"{name} input gradient", flops, lambda: backward(True, False, False)
        yield f"{name} weight gradient", flops, lambda: backward(False, True, False)


def set_tf32(wanted):
    torch.backends.cuda.matmul.allow_tf32 = wanted
    torch.backends.cudnn.allow_tf32 = wanted


def digits(value):
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def describe(error):
    return str(error).strip().split("\n")[0][:100]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="few and small shapes, a small network")
    parser.add_argument("--rounds", type=int, default=9, help="runs of which the median is taken (9)")
    options = parser.parse_args()
    device = torch.device(options.device)
    is_cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    modes = [False, True] if is_cuda and torch.cuda.get_device_capability(device)[0] >= 8 else [False]
    bench = Bench(device, 2 if options.quick else options.rounds)

    name = torch.cuda.get_device_name(device) if is_cuda else platform.processor() or platform.machine()
    cuda = f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}" if is_cuda else ""
    print(f"PyTorch {torch.__version__}{cuda} on {name}; cudnn.benchmark on; medians of {bench.rounds}\n")
    print("| operation | fp32 ms | fp32 TFLOP/s | TF32 ms | TF32 TFLOP/s |\n| --- | --: | --: | --: | --: |")
    for name, flops, run in operations(device, options.quick):
        cells = []
        for tf32 in modes:
            set_tf32(tf32)
            took = bench.repeated(run)
            cells += [digits(took), digits(flops / took / 1e9)]
        print("|", " | ".join([name, *cells, *["–"] * (4 - len(cells))]), "|", flush=True)

    print("\n| step | fp32 ms | fp32 GiB | TF32 ms | TF32 GiB | loss |\n| --- | --: | --: | --: | --: | --: |")
    small = {"crop": (64, 96), "batch": 2, "blocks": [1, 1, 1, 1], "width": 8, "channels": 32, "groups": 8}
    for name, shape in NETWORKS.items():
        if options.quick:
            shape = {**shape, **small}
        for stage in (SourceOnly, Denoise):
            cells, loss = [], "–"
            for tf32 in modes:
                set_tf32(tf32)
                try:
                    if is_cuda:
                        torch.cuda.reset_peak_memory_stats()
                    trial = stage(shape, device)
                    took = bench.milliseconds(trial.step)
                    loss = f"{trial.step().item():.4g}"
                    peak = torch.cuda.max_memory_allocated() / 2 ** 30 if is_cuda else None
                    cells += [digits(took), digits(peak)]
                except RuntimeError as error:  # out of memory
                    cells += [describe(error), "–"]
                trial = None
                if is_cuda:
                    torch.cuda.empty_cache()
            stage_name = "source" if stage is SourceOnly else "stage 1"
            print("|", " | ".join([f"{name} {stage_name}", *cells, *["–"] * (4 - len(cells)), loss]), "|",
                  flush=True)


if __name__ == "__main__":
    main()
