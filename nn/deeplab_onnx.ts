// DeepLab for inference as an ONNX graph: the same network once more, from its weights' names
// alone, so that writing it needs no GPU. A test runs the file elsewhere and compares with the
// network.

import type { Conv2dGeometry } from "../kernels/dense/conv2d_shape.ts";
import { type DeepLabOptions, PUBLISHED } from "./deeplab.ts";
import type { HostState } from "./module.ts";
import { LAYERS } from "./resnet.ts";
import { Float, type Initializer, OnnxGraph } from "./formats/onnx.ts";
import { arrayBytes } from "./formats/safetensors.ts";
import { WeightsMismatchError } from "./formats/weights_error.ts";

/** What a DeepLab for ONNX is made of. */
export interface OnnxOptions {
  /** The network's shape; options about training are passed over. */
  readonly network: DeepLabOptions;
  /** The weights by the network's names. */
  readonly state: ReadonlyMap<string, HostState>;
  /** Size of the images; without it, each run decides. */
  readonly size?: { readonly height: number; readonly width: number } | undefined;
}

const EPS = new Float(1e-5);

/**
 * The graph from `image`, [N, 3, H, W] in 0 to 1, to `logits`, [N, classes, H, W]: the network's,
 * resized to the image's size with aligned corners.
 *
 * @throws {WeightsMismatchError} If a weight is missing.
 */
export function deepLabGraph({ network, state, size }: OnnxOptions): OnnxGraph {
  const {
    blocks = PUBLISHED.blocks,
    head = PUBLISHED.head,
    groups = PUBLISHED.groups,
    dilations = PUBLISHED.dilations,
  } = network;
  const graph = new OnnxGraph();
  const writer = new Writer(graph, state);
  const [height, width] = size ? [size.height, size.width] : ["height", "width"];
  const image = graph.input("image", ["batch", 3, height, width]);

  let x = writer.convNorm(image, "conv1", "bn1", { stride: 2, padding: 3 });
  x = graph.node("Relu", [x]);
  const pool = { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: 1 };
  x = graph.node("MaxPool", [x], pool);
  LAYERS.forEach(({ stride, dilation }, index) => {
    for (let block = 0; block < (blocks[index] as number); block++) {
      const first = block === 0;
      x = writer.bottleneck(x, `layer${index + 1}.${block}`, first ? stride : 1, dilation, first);
    }
  });
  if (network.featureNorm) x = writer.batchNorm(x, "bn_pretrain");
  x = head === "proda" ? writer.prodaHead(x, groups, dilations) : writer.classicHead(x, dilations);

  // Batch and classes of the logits, height and width of the image.
  const sizes = ["leading", "trailing"].map((which, index) =>
    graph.node("Slice", [
      graph.node("Shape", [index === 0 ? x : image]),
      graph.integers(`${which}_start`, [2 * index]),
      graph.integers(`${which}_end`, [2 * index + 2]),
    ])
  );
  const outputSize = graph.node("Concat", sizes, { axis: 0 });
  const resize = { coordinate_transformation_mode: "align_corners", mode: "linear" };
  graph.node("Resize", [x, "", "", outputSize], resize, "logits");
  graph.output("logits", ["batch", network.classes, height, width]);
  return graph;
}

type Geometry = Partial<Conv2dGeometry>;

/** Adds the network's layers to a graph, each by the name of its weights. */
class Writer {
  readonly #graph: OnnxGraph;
  readonly #state: ReadonlyMap<string, HostState>;

  constructor(graph: OnnxGraph, state: ReadonlyMap<string, HostState>) {
    this.#graph = graph;
    this.#state = state;
  }

  conv(x: string, name: string, { stride = 1, padding = 0, dilation = 1 }: Geometry = {}): string {
    const bias = this.#state.has(`${name}.bias`) ? [this.#weight(`${name}.bias`)] : [];
    return this.#graph.node("Conv", [x, this.#weight(`${name}.weight`), ...bias], {
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
      dilations: [dilation, dilation],
    });
  }

  batchNorm(x: string, name: string): string {
    const weights = ["weight", "bias", "running_mean", "running_var"]
      .map((part) => this.#weight(`${name}.${part}`));
    return this.#graph.node("BatchNormalization", [x, ...weights], { epsilon: EPS });
  }

  convNorm(x: string, conv: string, norm: string, geometry: Geometry = {}): string {
    return this.batchNorm(this.conv(x, conv, geometry), norm);
  }

  bottleneck(x: string, name: string, stride: number, dilation: number, first: boolean): string {
    const relu = (value: string) => this.#graph.node("Relu", [value]);
    const part = (index: number) => [`${name}.conv${index}`, `${name}.bn${index}`] as const;
    const shortcut = first
      ? this.convNorm(x, `${name}.downsample.0`, `${name}.downsample.1`, { stride })
      : x;
    let y = relu(this.convNorm(x, ...part(1), { stride }));
    y = relu(this.convNorm(y, ...part(2), { padding: dilation, dilation }));
    y = this.convNorm(y, ...part(3));
    return relu(this.#graph.node("Add", [y, shortcut]));
  }

  classicHead(x: string, dilations: readonly number[]): string {
    return dilations
      .map((dilation, index) =>
        this.conv(x, `layer5.conv2d_list.${index}`, { padding: dilation, dilation })
      )
      .reduce((a, b) => this.#graph.node("Add", [a, b]));
  }

  prodaHead(x: string, groups: number, dilations: readonly number[]): string {
    const branches = [{}, ...dilations.map((dilation) => ({ padding: dilation, dilation }))]
      .map((geometry, index) => {
        const name = `layer5.conv2d_list.${index}`;
        const normal = this.#groupNorm(this.conv(x, `${name}.0`, geometry), `${name}.1`, groups);
        return this.#graph.node("Relu", [normal]);
      });
    const joined = this.#graph.node("Concat", branches, { axis: 1 });
    const scaled = this.#squeezeExcite(joined, "layer5.bottleneck.0.se");
    const features = this.#groupNorm(
      this.conv(scaled, "layer5.bottleneck.1", { padding: 1 }),
      "layer5.bottleneck.2",
      groups,
    );
    return this.conv(features, "layer5.head.1");
  }

  #squeezeExcite(x: string, name: string): string {
    const graph = this.#graph;
    const linear = (value: string, layer: string) =>
      graph.node("Gemm", [value, this.#weight(`${layer}.weight`), this.#weight(`${layer}.bias`)], {
        transB: 1,
      });
    const means = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])]);
    const hidden = graph.node("Relu", [linear(means, `${name}.0`)]);
    const gate = graph.node("Sigmoid", [linear(hidden, `${name}.2`)]);
    const planes = graph.node("Unsqueeze", [gate, graph.integers("plane_axes", [2, 3])]);
    return graph.node("Mul", [x, planes]);
  }

  /** ONNX normalises instances only before opset 18: a group becomes the channel of one. */
  #groupNorm(x: string, name: string, groups: number): string {
    const graph = this.#graph;
    const fill = (value: number) =>
      graph.initializer(`groups_of_${value}`, {
        shape: [groups],
        bytes: () => arrayBytes(new Float32Array(groups).fill(value)),
        type: "float",
      });
    const grouped = graph.node("Reshape", [x, graph.integers("grouped", [0, groups, -1])]);
    const normal = graph.node("InstanceNormalization", [grouped, fill(1), fill(0)], {
      epsilon: EPS,
    });
    const planes = graph.node("Reshape", [normal, graph.node("Shape", [x])]);
    const scaled = graph.node("Mul", [planes, this.#planeWeight(`${name}.weight`)]);
    return graph.node("Add", [scaled, this.#planeWeight(`${name}.bias`)]);
  }

  #weight(name: string): string {
    return this.#graph.initializer(name, this.#initializer(name));
  }

  /** A weight for each channel, as a factor of planes. */
  #planeWeight(name: string): string {
    const weight = this.#initializer(name);
    return this.#graph.initializer(name, { ...weight, shape: [...weight.shape, 1, 1] });
  }

  #initializer(name: string): Initializer {
    const values = this.#state.get(name);
    if (!values) {
      throw new WeightsMismatchError(`Cannot write the network as ONNX as ${name} is missing`);
    }
    return { shape: values.shape, bytes: () => arrayBytes(values.floats()), type: "float" };
  }
}
