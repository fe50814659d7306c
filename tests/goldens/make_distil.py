"""Makes distil.json: `python3 tests/goldens/make_distil.py`.

Two steps of stage 2 on the fixed tensors of make_stages.py, from equation 12: the teacher sees the weak
view as in the paper, or the strong one with the divergence of the released code. Both networks have a norm
between backbone and head (`bn_pretrain`), which learns at the head's rate.

Needs torch and numpy (Debian: python3-torch). Takes a few seconds.
"""

import torch
import torch.nn.functional as F

import make
from make import IGNORE, DeepLab, filled, labels
from make_stages import (BATCH, CLASSES, CROP, NETWORK, QUARTER, SCALE, STAGE1, STEPS, case, encoder_of, labelled,
                         resized, sgd, source_term, strong_of, viewed)

NETWORK["featureNorm"] = True


def distil(options, dtype):
    network, teacher = filled(DeepLab(**NETWORK), dtype), encoder_of(dtype)
    update = sgd(network, options)
    # In the frame of the strong view, as a step takes them.
    pseudo_labels = labels("pseudo.labels", STEPS * BATCH, *QUARTER, CLASSES).split(BATCH)
    losses = []
    batches = zip(labelled("source", dtype), labelled("target", dtype), pseudo_labels, options["views"])
    for step, ((image, label), (weak, _), pseudo_label, views) in enumerate(batches):
        strong = strong_of(weak, views, options["colour"])
        with torch.no_grad():
            if options["teacherView"] == "weak":
                taught = F.softmax(resized(teacher(weak)[1], QUARTER), 1)
                taught = torch.stack([viewed(x, view, 0, SCALE) for x, view in zip(taught, views)])
            else:
                taught = F.softmax(resized(teacher(strong)[1], QUARTER), 1)
            everything = torch.ones(QUARTER, dtype=torch.bool)
            mask = torch.stack([viewed(everything, view, False, SCALE) for view in views])
            if options["formula"] == "official":  # the mask of the released code is always true
                mask = torch.ones_like(mask)

        source = source_term(network, image, label)[1]
        logits = resized(network(strong)[1], QUARTER)
        pseudo = F.cross_entropy(logits, pseudo_label, ignore_index=IGNORE)
        p = taught.permute(0, 2, 3, 1)[mask]
        if options["formula"] == "paper":
            distillation = (p * (p.log() - F.log_softmax(logits, 1).permute(0, 2, 3, 1)[mask])).sum(1).mean()
        else:  # the softmax in the place of its logarithm, and a mean over classes too
            distillation = F.kl_div(F.softmax(logits, 1).permute(0, 2, 3, 1)[mask], p, reduction="mean")
        (source + pseudo + options["beta"] * distillation).backward()
        update(step)
        losses.append({"source": source.item(), "pseudo": pseudo.item(), "distillation": distillation.item()})
    return losses, {"network": network}


OPTIONS = {key: STAGE1[key] for key in ("learningRate", "headFactor", "momentum", "weightDecay", "scheduleSteps",
                                        "power", "rampSteps", "views", "colour")}

if __name__ == "__main__":
    torch.set_num_threads(2)
    make.write("distil", {
        "network": NETWORK,
        "paper": case("paper", distil, "15", {**OPTIONS, "beta": 0.7, "teacherView": "weak", "formula": "paper"}),
        "official": case("official", distil, "15", {**OPTIONS, "beta": 0.7, "teacherView": "strong", "formula": "official"}),
    })
