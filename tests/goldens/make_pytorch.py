"""Makes weights.zip.pth, weights.legacy.pth and weights.json beside this file:
`/usr/bin/python3 tests/goldens/make_pytorch.py`.

One dictionary of everything that a reader of PyTorch's checkpoints must understand, saved by
torch.save in both of its formats, and the values of every tensor as PyTorch has them in float64.
Needs torch and numpy (Debian: python3-torch).
"""

import argparse
import collections
import json
import pathlib

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parent


def checkpoint():
    numbers = torch.arange(24, dtype=torch.float32) / 7 - 1.5
    special = torch.tensor([0.0, -0.0, 1.0, -2.0, 6.1e-5, 5.96e-8, 65504.0, float("inf"), float("-inf"), float("nan")])
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.BatchNorm2d(2))
    for index, parameter in enumerate(model.parameters()):
        parameter.data = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) + index
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return {
        "ResNet101": {
            "model_state": model.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "scheduler_state": {"base_lrs": [1e-4], "last_epoch": 7, "verbose": False},
        },
        "iter": 1000,
        "best_iou": np.float64(0.5625),
        "count": np.int64(2**40),
        "args": argparse.Namespace(name="größe", bn_clr=True, seed=None),
        "means": np.arange(3.0),
        "views": collections.OrderedDict(
            whole=numbers.reshape(2, 3, 4),
            row=numbers[8:16],
            column=numbers.reshape(6, 4)[:, 1],
            transposed=numbers.reshape(2, 3, 4).permute(2, 0, 1),
            step=numbers[1::5],
            scalar=numbers[5],
            empty=numbers[:0],
            last=torch.arange(8, dtype=torch.float32).reshape(1, 2, 2, 2).contiguous(memory_format=torch.channels_last),
        ),
        "types": {
            "double": (numbers[:5].double() / 3),
            "half": special.half(),
            "half_view": special.half()[1::3],
            "bfloat16": special.bfloat16(),
            "int64": torch.tensor([[1, -(2**40)], [3, 4]]),
            "int32": torch.tensor([1, -2], dtype=torch.int32),
            "int16": torch.tensor([1, -2], dtype=torch.int16),
            "int8": torch.tensor([1, -2], dtype=torch.int8),
            "uint8": torch.tensor([1, 254], dtype=torch.uint8),
            "bool": torch.tensor([True, False]),
        },
        "parameter": torch.nn.Parameter(numbers[:3].clone()),
        "prototypes": [numbers[:2].clone(), {3: numbers[2:4].clone()}],
        "size": torch.Size([1, 2]),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "classes": {"road", "sky"},
    }


def tensors(value, path=""):
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from tensors(item, f"{path}.{key}" if path else str(key))


def plain(number):
    """JSON has no names for these; JavaScript reads them from text."""
    if isinstance(number, float) and not np.isfinite(number):
        return "NaN" if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return number


value = checkpoint()
torch.save(value, FOLDER / "weights.zip.pth")
torch.save(value, FOLDER / "weights.legacy.pth", _use_new_zipfile_serialization=False)
expected = {
    name: {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "values": [plain(number) for number in tensor.detach().double().flatten().tolist()],
    }
    for name, tensor in tensors(value)
}
(FOLDER / "weights.json").write_text(json.dumps(expected, indent=1) + "\n")
