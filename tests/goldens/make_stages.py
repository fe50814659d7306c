"""Makes stages.json: `python3 tests/goldens/make_stages.py`.

Two steps of every stage on fixed tensors, from the equations of the paper and not from train/, in
float64 on the CPU. Networks and the hash that fills them are make.py's; views are made operation by
operation on whole arrays, prototypes class by class. Every case records how far PyTorch's own
float32 is from its float64 (`float32Deviation`). A salt is refused where a class is decided within
rounding error, where no class is skipped for having too few pixels, or where some activation is so
near a kink that float32 is lost; those chosen stand weights moved by 5e-7 as well.

Needs torch and numpy (Debian: python3-torch). Takes a few seconds.
"""

import copy

import torch
import torch.nn.functional as F

import make
from make import IGNORE, DeepLab, Discriminator, filled, images, labels, numbers, signed, uniform

CLASSES = 5
NETWORK = {"blocks": [1, 1, 1, 1], "width": 8, "classes": CLASSES, "head": "proda", "headChannels": 32,
           "groups": 8, "dilations": [1, 2], "featureNorm": False}
# Four pixels of the crop are one of the map exactly: 44 = 4 · 11, 60 = 4 · 15.
CROP, QUARTER, SCALE = (45, 61), (12, 16), 4
STEPS, BATCH = 2, 2
PROTOTYPE_STRIDE = 1  # all of them are kept
MARGIN = 1e-4  # between the best class and the next, far above the rounding of 32 bits


def sgd(network, options):
    """A callable that makes one update at a step of the schedule."""
    groups = ([], [])
    for name, value in network.named_parameters():
        groups[name.startswith(("layer5", "bn_pretrain"))].append(value)
    optimiser = torch.optim.SGD([{"params": group} for group in groups], lr=1, momentum=options["momentum"],
                                weight_decay=options["weightDecay"])

    def update(step):
        rate = options["learningRate"] * (1 - step / options["scheduleSteps"]) ** options["power"]
        rate *= min(1, (step + 1) / max(1, options["rampSteps"]))
        optimiser.param_groups[0]["lr"] = rate
        optimiser.param_groups[1]["lr"] = rate * options["headFactor"]
        optimiser.step()
        network.zero_grad()

    return update


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def labelled(name, dtype):
    """The batches of all steps: images, labels."""
    label = labels(f"{name}.labels", STEPS * BATCH, *CROP, CLASSES)
    return [(i.to(dtype), l) for i, l in zip(images(f"{name}.images", label).split(BATCH), label.split(BATCH))]


def source_term(network, image, label):
    logits = resized(network(image)[1], CROP)
    return logits, F.cross_entropy(logits, label, ignore_index=IGNORE)


# --- the stages; each returns the losses of every step and the tensors at the end ---

def source_only(options, dtype):
    network = filled(DeepLab(**NETWORK), dtype)
    update = sgd(network, options)
    losses = []
    for step, (image, label) in enumerate(labelled("source", dtype)):
        loss = source_term(network, image, label)[1]
        loss.backward()
        update(step)
        losses.append({"source": loss.item()})
    return losses, {"network": network}


def warm_up(options, dtype):
    network = filled(DeepLab(**NETWORK), dtype)
    discriminator = filled(Discriminator(CLASSES, options["discriminatorPlanes"]), dtype)
    update = sgd(network, options)
    adam = torch.optim.Adam(discriminator.parameters(), lr=1, betas=(0.9, 0.99))

    def gan(scores, is_target):
        if options["gan"] == "bce":
            return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, is_target))
        return ((scores - is_target) ** 2).mean()

    losses = []
    for step, ((image, label), (target, _)) in enumerate(zip(labelled("source", dtype), labelled("target", dtype))):
        source_logits, source = source_term(network, image, label)
        target_logits = resized(network(target)[1], CROP)
        on_source, on_target = F.softmax(source_logits, 1), F.softmax(target_logits, 1)
        adversarial = gan(discriminator(on_target), 0.0)
        (source + options["adversarialWeight"] * adversarial).backward()
        update(step)
        discriminator.zero_grad()  # of what the network's update has left in it
        loss = gan(discriminator(on_source.detach()), 0.0) + gan(discriminator(on_target.detach()), 1.0)
        loss.backward()
        adam.param_groups[0]["lr"] = (options["discriminatorLearningRate"]
                                      * (1 - step / options["scheduleSteps"]) ** options["power"])
        adam.step()
        losses.append({"source": source.item(), "adversarial": adversarial.item(), "discriminator": loss.item()})
    return losses, {"network": network, "discriminator": discriminator}


def viewed(x, operations, fill, scale=1):
    """Moves an array [..., height, width] of whole pixels as the operations say, one after the other."""
    for operation in operations:
        if operation["kind"] == "flip":
            x = x.flip(-1)
        elif operation["kind"] == "translate":
            right, down = operation["x"] // scale, operation["y"] // scale
            height, width = x.shape[-2:]
            moved = torch.full_like(x, fill)
            moved[..., max(0, down):height + min(0, down), max(0, right):width + min(0, right)] = \
                x[..., max(0, -down):height - max(0, down), max(0, -right):width - max(0, right)]
            x = moved
        elif operation["kind"] == "cutout":
            x = x.clone()
            for row in range(x.shape[-2]):
                for column in range(x.shape[-1]):
                    if (0 <= row * scale - operation["top"] < operation["height"]
                            and 0 <= column * scale - operation["left"] < operation["width"]):
                        x[..., row, column] = fill
    return x


def strong_of(weak, views, colour):
    """Views of images; what is seen changes its colours, the rest is grey."""
    matrix = torch.tensor(colour, dtype=weak.dtype)
    recoloured = torch.einsum("rc,nchw->nrhw", matrix[:, :3], weak) + matrix[:, 3].reshape(1, 3, 1, 1)
    return torch.stack([viewed(x, view, 127 / 255) for x, view in zip(recoloured.clamp(0, 1), views)])


# Whole images, four pixels of which are one of their map: 60 = 4 · 15, 76 = 4 · 19. A weak view lies 24 to the right and
# 20 down in its image, so that its last columns and rows lie beyond, and is then flipped.
WHOLE, WHOLE_QUARTER, WEAK_AT = (61, 77), (16, 20), (24, 20)


def whole_images(dtype):
    """Of all steps."""
    label = labels("whole.labels", STEPS * BATCH, *WHOLE, CLASSES)
    return images("whole.images", label).to(dtype).split(BATCH)


def to_weak(x):
    """Maps of whole images at a quarter of their size in the frame of their weak views; 0 beyond the image."""
    right, down = (place // SCALE for place in WEAK_AT)
    height, width = QUARTER
    cut = torch.zeros(*x.shape[:-2], height, width, dtype=x.dtype)
    inside = x[..., down:down + height, right:right + width]
    cut[..., :inside.shape[-2], :inside.shape[-1]] = inside
    return cut.flip(-1)


def soft_labels(dtype):
    """Of all steps; the last two columns of the first image lie outside its view."""
    values = uniform("softLabels", (STEPS * BATCH, CLASSES, *QUARTER)).to(dtype).add(1).pow(4)
    values /= values.sum(1, keepdim=True)
    values[0, :, :, -2:] = 0
    return values.split(BATCH)


def distances_to(prototypes, features):
    return torch.stack([(features - prototype.reshape(1, -1, 1, 1)).pow(2).sum(1).sqrt() for prototype in prototypes], 1)


def margin(scores):
    best, second = scores.topk(2, 1).values.unbind(1)
    return (best - second).min().item()


def encoder_of(dtype):
    """Unlike the network, with statistics of its own."""
    encoder = DeepLab(**NETWORK)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            value.copy_(make.parameter(f"encoder.{name}", tuple(value.shape)))
        for name, value in encoder.named_buffers():
            if name.endswith("running_mean"):
                value.copy_(0.25 * uniform(f"encoder.{name}", tuple(value.shape)))
            elif name.endswith("running_var"):
                value.copy_(1 + 0.25 * uniform(f"encoder.{name}", tuple(value.shape)))
    return encoder.to(dtype).eval()


def denoise(options, dtype):
    network, encoder = filled(DeepLab(**NETWORK), dtype), encoder_of(dtype)
    if options["encoderStatistics"] == "batch":
        encoder.train()  # it has no dropout, so that only its batch norms notice
    prototypes = uniform("prototypes", (CLASSES, NETWORK["headChannels"])).to(dtype)
    update = sgd(network, options)
    tau = options["temperature"]
    losses, found, skips_one_image = [], [], False
    batches = zip(labelled("source", dtype), labelled("target", dtype), soft_labels(dtype), options["views"],
                  whole_images(dtype) if options["encoderView"] == "whole" else [None] * STEPS)
    for step, ((image, label), (weak, _), soft, views, whole) in enumerate(batches):
        with torch.no_grad():
            if options["encoderView"] == "whole":  # its features move the prototypes whole, and are cut for the labels
                moving, moving_logits = (resized(x, WHOLE_QUARTER) for x in encoder(whole))
                features, logits = to_weak(moving), to_weak(moving_logits)
            else:
                features, logits = (resized(x, QUARTER) for x in encoder(weak))
                moving, moving_logits = features, logits
            distances = distances_to(prototypes, features)
            rectified = F.softmax(-distances / tau, 1) * soft  # eq. 3
            denoised = rectified.argmax(1)  # eq. 2
            unseen = soft.sum(1) == 0
            denoised[unseen] = IGNORE
            predicted = moving_logits.argmax(1)
            if options["encoderView"] == "weak" and options["padding"] == "masked":
                predicted[unseen] = IGNORE
            if dtype == torch.float64:
                seen = (~unseen)[:, None].expand_as(rectified)
                log_rectified = rectified.log().permute(0, 2, 3, 1)[seen.permute(0, 2, 3, 1)].reshape(-1, CLASSES)
                assert margin(log_rectified) > MARGIN, "a denoised label is nearly a draw: choose another salt"
                assert margin(moving_logits) > MARGIN, "a prediction is nearly a draw: choose another salt"
            label_map = denoised
            if options["studentView"] == "strong":
                label_map = torch.stack([viewed(x, view, IGNORE, SCALE) for x, view in zip(denoised, views)])
            moved = torch.stack([viewed(x, view, 0, SCALE) for x, view in zip(distances, views)])
            shown = torch.ones_like(unseen) if options["padding"] == "counted" else ~unseen
            mask = torch.stack([viewed(x, view, False, SCALE) for x, view in zip(shown, views)])
            weak_assignment = F.softmax(-moved / tau, 1)  # eq. 7

        source = source_term(network, image, label)[1]
        learnt = resized(network(weak)[1], QUARTER) if options["studentView"] == "weak" else None
        strong_features, strong_logits = (resized(x, QUARTER) for x in network(strong_of(weak, views, options["colour"])))
        learnt = strong_logits if learnt is None else learnt
        log_p = F.log_softmax(learnt, 1)
        # eq. 6; the one-hot of an ignored pixel is not used
        valid = label_map != IGNORE
        one_hot = F.one_hot(label_map.where(valid, torch.zeros_like(label_map)), CLASSES).permute(0, 3, 1, 2).to(dtype)
        forward = -(one_hot * log_p).sum(1)[valid].mean()
        reverse = -(log_p.exp().clamp(1e-7, 1) * one_hot.clamp(1e-4, 1).log()).sum(1)[valid].mean()
        symmetric = options["alpha"] * forward + options["beta"] * reverse
        # eq. 8 and 9
        log_strong = F.log_softmax(-distances_to(prototypes, strong_features) / tau, 1)
        structure = (weak_assignment * (weak_assignment.log() - log_strong)).sum(1)[mask].mean()
        regulariser = -log_p.sum(1).mean()  # eq. 10
        (source + symmetric + options["gamma1"] * structure + options["gamma2"] * regulariser).backward()  # eq. 11
        update(step)

        for k in range(CLASSES):  # eq. 5
            of_images = [moving[i][:, predicted[i] == k] for i in range(BATCH)]
            counted = [pixels for pixels in of_images if pixels.shape[1] >= 10]
            skips_one_image |= len(counted) == 1 and all(pixels.shape[1] > 0 for pixels in of_images)
            if counted:
                mean = torch.cat(counted, 1).mean(1)
                prototypes[k] = options["prototypeDecay"] * prototypes[k] + (1 - options["prototypeDecay"]) * mean
        with torch.no_grad():
            for old, new in zip(encoder.parameters(), network.parameters()):
                old.copy_(options["emaDecay"] * old + (1 - options["emaDecay"]) * new)
            for old, new in zip(encoder.buffers(), network.buffers()):
                old.copy_(new)
        losses.append({"source": source.item(), "symmetric": symmetric.item(), "structure": structure.item(),
                       "regulariser": regulariser.item()})
        found.append("".join("." if label == IGNORE else str(label) for label in denoised.flatten().tolist()))
    assert skips_one_image, "no class has too few pixels in one image only: choose another salt"
    return losses, {"network": network, "encoder": encoder}, prototypes, found


# --- what is kept ---

def changes(network, before):
    """What has been added to every parameter."""
    return {name: value.detach() - old for (name, value), old in zip(network.named_parameters(), before)}


def starts(name, dtype, options):
    if name == "encoder":
        return [p.detach() for p in encoder_of(dtype).parameters()]
    network = DeepLab(**NETWORK) if name == "network" else Discriminator(CLASSES, options["discriminatorPlanes"])
    return [p.detach() for p in filled(network, dtype).parameters()]


def compact(value):
    """make.summary in one line: the norm, the stride, three samples."""
    summary = make.summary(value, 3)
    return [summary["norm"], summary["stride"], *summary["sample"]]


def sample_deviation(value, truth):
    """Of the samples alone, against the largest of them or the root mean square of all, as assertSummary has it."""
    _, stride, *sample = compact(truth)
    found = value.flatten()[::stride][:len(sample)].double()
    expected = truth.flatten()[::stride][:len(sample)]
    return ((found - expected).abs().max() / max(expected.abs().max(), truth.pow(2).mean().sqrt())).item()


def case(name, stage, salt, options, starts=starts):
    make.SALT = salt
    losses, networks, *rest = stage(options, torch.float64)
    losses32, networks32, *rest32 = stage(options, torch.float32)
    golden = {"salt": salt, "options": options, "losses": losses}
    deviations = [abs(a[key] / b[key] - 1) for a, b in zip(losses32, losses) for key in b]
    golden["float32Deviation"] = {"loss": max(deviations), "update": 0, "sample": 0, "norm": 0, "statistics": 0}
    worst = golden["float32Deviation"]
    for key, network in networks.items():
        update = changes(network, starts(key, torch.float64, options))
        update32 = changes(networks32[key], starts(key, torch.float32, options))
        golden[key] = {n: compact(u) for n, u in update.items()}
        worst["update"] = max(worst["update"], *(make.deviation(update32[n], u) for n, u in update.items()))
        worst["sample"] = max(worst["sample"], *(sample_deviation(update32[n], u) for n, u in update.items()))
        worst["norm"] = max(worst["norm"], *(abs(update32[n].double().norm() / u.norm() - 1).item()
                                             for n, u in update.items()))
    statistics = {n: b for n, b in networks["network"].named_buffers() if "running" in n}
    statistics32 = dict(networks32["network"].named_buffers())
    golden["statistics"] = {n: compact(b) for n, b in statistics.items()}
    worst["statistics"] = max(make.deviation(statistics32[n], b) for n, b in statistics.items())
    if rest:
        prototypes, found = rest
        golden["prototypes"] = numbers(prototypes.flatten()[::PROTOTYPE_STRIDE].tolist())
        golden["denoised"] = found[0]  # in the frame of the weak view
        worst["prototypes"] = make.deviation(rest32[0], prototypes)
        assert rest32[1] == found, "float32 decides on other labels: choose another salt"
    print(name, {key: f"{value:.1e}" for key, value in worst.items()})
    assert worst["norm"] < 1e-3, "an activation is too near a kink: choose another salt"
    return golden


SGD = {"learningRate": 0.02, "headFactor": 4, "momentum": 0.9, "weightDecay": 2e-4, "scheduleSteps": 5, "power": 0.9,
       "rampSteps": 0}
WARM_UP = {**SGD, "adversarialWeight": 0.5, "discriminatorLearningRate": 2e-3, "discriminatorPlanes": 4}
# Flip and translation in either order, a cutout, and a view of everything.
VIEWS = [
    [[{"kind": "flip"}, {"kind": "translate", "x": 8, "y": -4}],
     [{"kind": "translate", "x": -12, "y": 4}, {"kind": "cutout", "left": 18, "top": 10, "width": 15, "height": 15}]],
    [[{"kind": "translate", "x": 16, "y": 8}, {"kind": "flip"}], []],
]
STAGE1 = {**SGD, "learningRate": 0.005, "alpha": 0.1, "beta": 1, "gamma1": 10, "gamma2": 0.1, "temperature": 1,
          "studentView": "strong", "encoderView": "weak", "padding": "masked", "views": VIEWS,
          "colour": [[0.8, 0.1, 0, 0.05], [0.05, 0.9, 0.1, -0.05], [0, 0.2, 0.7, 0.1]]}

SALTS = {"stage1": "8", "stage1Batch": "15", "stage1Weak": "2", "stage1Whole": "25"}

if __name__ == "__main__":
    torch.set_num_threads(2)
    cases = {
        "source": case("source", source_only, "7", {**SGD, "rampSteps": 3}),
        "warmup": case("warmup", warm_up, "7", {**WARM_UP, "gan": "least-squares"}),
        "warmupBce": case("warmupBce", warm_up, "2", {**WARM_UP, "gan": "bce"}),
        # As published but for the view on which labels are learnt: the encoder's running statistics, and slow averages.
        "stage1": case("stage1", denoise, SALTS["stage1"], {
            **STAGE1, "encoderStatistics": "running", "prototypeDecay": 0.9999, "emaDecay": 0.999}),
        "stage1Batch": case("stage1Batch", denoise, SALTS["stage1Batch"], {
            **STAGE1, "temperature": 0.5, "encoderStatistics": "batch", "prototypeDecay": 0.9, "emaDecay": 0.9,
            "padding": "counted"}),
        # Labels on the weak view, as in the paper's equations 6 and 10.
        "stage1Weak": case("stage1Weak", denoise, SALTS["stage1Weak"], {
            **STAGE1, "encoderStatistics": "running", "prototypeDecay": 0.9, "emaDecay": 0.9, "studentView": "weak"}),
        # As the released code has it, but for its dropout: the encoder sees whole images.
        "stage1Whole": case("stage1Whole", denoise, SALTS["stage1Whole"], {
            **STAGE1, "encoderStatistics": "batch", "prototypeDecay": 0.9, "emaDecay": 0.9, "studentView": "weak",
            "encoderView": "whole", "padding": "counted"}),
    }
    make.write("stages", {"network": NETWORK, "crop": CROP, "quarter": QUARTER, "steps": STEPS, "batch": BATCH, **cases})
