// Ways to tell a good network without target labels; more is better, for all of them.

import { Information } from "../../train/evaluation/information.ts";
import { ConfusionMatrix } from "../../train/evaluation/metrics.ts";
import type { KnownNetwork } from "./networks.ts";
import type { NetworkOutput, SetOutput, ViewName } from "./outputs.ts";

/** One number of a network; `peers` are the networks that a run could choose from. */
export type Candidate = (network: KnownNetwork, peers: readonly KnownNetwork[]) => number;

const softmaxes = new WeakMap<Float32Array, Float32Array>();

/** Probabilities of logits that lie image, class, pixel. */
export function softmax(logits: Float32Array, classes: number, plane: number): Float32Array {
  const known = softmaxes.get(logits);
  if (known) return known;
  const result = new Float32Array(logits.length);
  for (let image = 0; image < logits.length; image += classes * plane) {
    for (let i = image; i < image + plane; i++) {
      let most = -Infinity;
      for (let k = 0; k < classes; k++) most = Math.max(most, logits[i + k * plane]);
      let sum = 0;
      for (let k = 0; k < classes; k++) sum += Math.exp(logits[i + k * plane] - most);
      for (let k = 0; k < classes; k++) {
        result[i + k * plane] = Math.exp(logits[i + k * plane] - most) / sum;
      }
    }
  }
  softmaxes.set(logits, result);
  return result;
}

const planeOf = ({ height, width }: SetOutput) => height * width;

/** Of a view of the target. */
function probabilities(set: SetOutput, view: ViewName = "plain"): Float32Array {
  const own = set.views[view];
  if (!own) throw new RangeError(`There is no view ${view}`);
  return softmax(own.logits, set.classes, planeOf(set));
}

/** Every pixel's probabilities, one after the other, and its class. */
function* pixels(p: Float32Array, classes: number, plane: number): Generator<number[]> {
  for (let image = 0; image < p.length; image += classes * plane) {
    for (let i = image; i < image + plane; i++) {
      yield Array.from({ length: classes }, (_, k) => p[i + k * plane]);
    }
  }
}

function rows(set: SetOutput, view: ViewName = "plain"): number[][] {
  return [...pixels(probabilities(set, view), set.classes, planeOf(set))];
}

function argmax(row: readonly number[]): number {
  return row.indexOf(Math.max(...row));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Scores of labels against others. */
function scores(classes: number, truth: ArrayLike<number>, labels: ArrayLike<number>) {
  const matrix = new ConfusionMatrix(classes);
  matrix.addPixels(truth, labels);
  return matrix.scores();
}

/** mIoU between the plain view's labels and another's. */
function agreement({ target }: NetworkOutput, view: ViewName): number {
  const [plain, other] = [target.views.plain, target.views[view]];
  if (!plain || !other) return NaN;
  return scores(target.classes, plain.labels, other.labels).mIoU;
}

/** The same with 0 for classes that neither has, mean over views. */
function fullAgreement({ target }: NetworkOutput, ...views: readonly ViewName[]): number {
  return mean(views.map((view) => {
    const [plain, other] = [target.views.plain, target.views[view]];
    if (!plain || !other) return NaN;
    return mean(scores(target.classes, plain.labels, other.labels).classIoU.map((x) => x ?? 0));
  }));
}

function agreementShare({ target }: NetworkOutput, view: ViewName): number {
  const [plain, other] = [target.views.plain, target.views[view]];
  if (!plain || !other) return NaN;
  return scores(target.classes, plain.labels, other.labels).pixelAccuracy;
}

/** −mean KL(p ‖ q) between two views. */
function klAgreement({ target }: NetworkOutput, view: ViewName): number {
  const [p, q] = [probabilities(target), probabilities(target, view)];
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    if (p[i] > 0) sum += p[i] * Math.log(p[i] / Math.max(1e-12, q[i]));
  }
  return -sum * target.classes / p.length;
}

/** Share of sure pixels (0.9) whose class another view has too, times their share. */
function confidentAgreement({ target }: NetworkOutput, view: ViewName): number {
  const [p, q] = [rows(target), rows(target, view)];
  const sure = p.flatMap((row, i) => Math.max(...row) > 0.9 ? [i] : []);
  return 100 * mean(sure.map((i) => argmax(p[i]) === argmax(q[i]) ? 1 : 0));
}

function information({ target }: NetworkOutput): number {
  const result = new Information(target.classes);
  const { images, classes, height, width } = target;
  result.add(probabilities(target), [images, classes, height, width]);
  return result.percent;
}

function meanConfidence(set: SetOutput): number {
  return 100 * mean(rows(set).map((row) => Math.max(...row)));
}

function entropy(row: readonly number[]): number {
  return -row.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
}

/** −mean over predicted classes of the mean entropy of their pixels. */
function balancedEntropy({ target }: NetworkOutput): number {
  const own: number[][] = Array.from({ length: target.classes }, () => []);
  for (const row of rows(target)) own[argmax(row)].push(entropy(row));
  return -mean(own.map((values) => values.length ? mean(values) : Math.log(target.classes)));
}

/** −KL(source's class shares ‖ predicted shares). */
function prior({ target, source }: NetworkOutput): number {
  const shares = (values: Iterable<number>, classes: number) => {
    const counts = new Float64Array(classes).fill(1);
    let all = classes;
    for (const value of values) if (value < classes) (counts[value]++, all++);
    return counts.map((count) => count / all);
  };
  const p = shares(source.truth, target.classes);
  const q = shares(rows(target).map(argmax), target.classes);
  return -p.reduce((sum, value, k) => sum + value * Math.log(value / q[k]), 0);
}

/** Σ of singular values of the matrix of probabilities over √(N K): Cui et al., 2020. */
function nuclearNorm({ target }: NetworkOutput): number {
  const all = rows(target);
  const gram = gramOf(all, target.classes);
  return eigenvalues(gram).reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0) /
    Math.sqrt(all.length * target.classes);
}

function gramOf(all: readonly number[][], classes: number): number[][] {
  const gram = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
  for (const row of all) {
    for (let a = 0; a < classes; a++) {
      for (let b = 0; b < classes; b++) gram[a][b] += row[a] * row[b];
    }
  }
  return gram;
}

/** Of a symmetric matrix, by Jacobi's rotations. */
function eigenvalues(matrix: readonly number[][]): number[] {
  const a = matrix.map((row) => [...row]);
  const n = a.length;
  for (let sweep = 0; sweep < 50; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(a[p][q]) < 1e-12) continue;
        const theta = 0.5 * Math.atan2(2 * a[p][q], a[q][q] - a[p][p]);
        const [c, s] = [Math.cos(theta), Math.sin(theta)];
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[k][p], a[k][q]];
          a[k][p] = c * x - s * y;
          a[k][q] = s * x + c * y;
        }
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[p][k], a[q][k]];
          a[p][k] = c * x - s * y;
          a[q][k] = s * x + c * y;
        }
      }
    }
  }
  return a.map((row, k) => row[k]);
}

/** Cosine of PᵀP with a diagonal of the given shares (Tu et al., 2023, SoftmaxCorr). */
function softmaxCorrelation({ target }: NetworkOutput): number {
  const gram = gramOf(rows(target), target.classes);
  const norm = Math.sqrt(gram.flat().reduce((sum, value) => sum + value ** 2, 0));
  return gram.reduce((sum, row, k) => sum + row[k], 0) / (norm * Math.sqrt(target.classes));
}

/** Every so many, as a reproducible sample. */
function sample<T>(all: readonly T[], count: number): T[] {
  const kept = Math.min(count, all.length);
  return Array.from({ length: kept }, (_, i) => all[Math.floor((i + 0.37) * all.length / kept)]);
}

function unit(row: readonly number[]): number[] {
  const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)) + 1e-12;
  return row.map((x) => x / norm);
}

/** Soft neighbourhood density (Saito et al., 2021), τ = 0.05, of a sample of pixels. */
function softNeighbourhoodDensity({ target }: NetworkOutput): number {
  const all = sample(rows(target), 1500).map(unit);
  return mean(all.map((own, i) => {
    const logits = all.map((other) => other.reduce((sum, x, k) => sum + x * own[k], 0) / 0.05);
    logits[i] = -Infinity;
    const most = Math.max(...logits);
    const weights = logits.map((x) => Math.exp(x - most));
    const sum = weights.reduce((a, b) => a + b, 0);
    return entropy(weights.map((w) => w / sum));
  }));
}

/** MaNo (Xie et al., 2024): the L4 norm of normalised logits; softmax or its second-order series. */
function maNo({ target }: NetworkOutput): number {
  const { logits } = target.views.plain as { logits: Float32Array };
  const p = probabilities(target);
  let crossEntropy = 0;
  for (const value of p) crossEntropy -= Math.log(Math.max(1e-30, value));
  crossEntropy /= p.length;
  let sum = 0;
  for (const row of pixels(crossEntropy > 5 ? p : logits, target.classes, planeOf(target))) {
    let values = row;
    if (crossEntropy <= 5) {
      const raw = row.map((x) => 1 + x + x * x / 2);
      const least = Math.min(...raw);
      const shifted = raw.map((x) => x - least);
      const all = shifted.reduce((a, b) => a + b, 0);
      values = shifted.map((x) => x / all);
    }
    for (const x of values) sum += x ** 4;
  }
  return (sum / p.length) ** 0.25;
}

/** Average thresholded confidence (Garg et al., 2022): share above what the source's accuracy asks for. */
function thresholdedConfidence({ target, source }: NetworkOutput): number {
  const all = rows(source);
  const confidence: number[] = [];
  let right = 0;
  all.forEach((row, i) => {
    if (source.truth[i] >= source.classes) return;
    confidence.push(Math.max(...row));
    if (argmax(row) === source.truth[i]) right++;
  });
  confidence.sort((a, b) => a - b);
  const threshold = confidence[Math.min(confidence.length - 1, confidence.length - right)];
  return 100 * mean(rows(target).map((row) => Math.max(...row) > threshold ? 1 : 0));
}

/** Difference of confidences (Guillory et al., 2021): source accuracy less the loss of confidence. */
function differenceOfConfidences({ target, source }: NetworkOutput): number {
  const { labels } = source.views.plain as { labels: Uint8Array };
  const { pixelAccuracy } = scores(source.classes, source.fullTruth, labels);
  return pixelAccuracy - (meanConfidence(source) - meanConfidence(target));
}

function labelledScore(set: SetOutput): number {
  const { labels } = set.views.plain as { labels: Uint8Array };
  return scores(set.classes, set.fullTruth, labels).mIoU;
}

const featureRows = new WeakMap<Float32Array, number[][]>();

function features(set: SetOutput): number[][] {
  const known = featureRows.get(set.features) ??
    [...pixels(set.features, set.channels, planeOf(set))];
  featureRows.set(set.features, known);
  return known;
}

/** Mean feature of every class; null for one without pixels. */
function centroids(all: readonly number[][], labels: readonly number[], classes: number) {
  return Array.from({ length: classes }, (_, k) => {
    const own = all.filter((_, i) => labels[i] === k);
    if (own.length === 0) return null;
    return own[0].map((_, c) => mean(own.map((row) => row[c])));
  });
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.sqrt(a.reduce((sum, x, c) => sum + (x - b[c]) ** 2, 0));
}

function nearest(row: readonly number[], centres: readonly (readonly number[] | null)[]): number {
  const distances = centres.map((centre) => centre ? distance(row, centre) : Infinity);
  return distances.indexOf(Math.min(...distances));
}

/** Of target features under predicted labels: mean distance between centres over that to the own one. */
function compactness({ target }: NetworkOutput): number {
  const labels = rows(target).map(argmax);
  const all = features(target);
  const centres = centroids(all, labels, target.classes);
  const own = centres.map((centre, k) =>
    centre ? mean(all.flatMap((row, i) => labels[i] === k ? [distance(row, centre)] : [])) : null
  );
  const between: number[] = [];
  centres.forEach((a, i) =>
    centres.forEach((b, j) => {
      if (a && b && i < j) between.push(distance(a, b));
    })
  );
  const within = mean(own.filter((value) => value !== null));
  return between.length ? mean(between) / within : 0;
}

/** Silhouette of target features by the source's prototypes, mean over the classes. */
function prototypeSilhouette({ target, source }: NetworkOutput): number {
  const centres = centroids(features(source), [...source.truth], target.classes);
  const sums: number[][] = Array.from({ length: target.classes }, () => []);
  for (const row of features(target)) {
    const distances = centres.map((centre) => centre ? distance(row, centre) : Infinity);
    const k = distances.indexOf(Math.min(...distances));
    const a = distances[k];
    const b = Math.min(...distances.filter((_, j) => j !== k));
    sums[k].push((b - a) / Math.max(a, b));
  }
  return mean(sums.map((values) => values.length ? mean(values) : 0));
}

/** mIoU between predictions and the class of the nearest source prototype. */
function prototypeAgreement({ target, source }: NetworkOutput): number {
  const centres = centroids(features(source), [...source.truth], target.classes);
  const labels = rows(target).map(argmax);
  return scores(target.classes, labels, features(target).map((row) => nearest(row, centres))).mIoU;
}

/** Source mIoU of the classes of the nearest centre of target features under predicted labels. */
function reversePrototypes({ target, source }: NetworkOutput): number {
  const labels = rows(target).map(argmax);
  const centres = centroids(features(target), labels, target.classes);
  return scores(target.classes, source.truth, features(source).map((row) => nearest(row, centres)))
    .mIoU;
}

/** Share of the variance of an image's colours that its predicted classes explain. */
function explainedColours({ target }: NetworkOutput): number {
  const plane = planeOf(target);
  const labels = rows(target).map(argmax);
  let [within, all] = [0, 0];
  for (let image = 0; image < target.images; image++) {
    for (let c = 0; c < 3; c++) {
      const at = (3 * image + c) * plane;
      const sums = Array.from({ length: target.classes }, () => [0, 0, 0]);
      let [n, s, q] = [0, 0, 0];
      for (let i = 0; i < plane; i++) {
        const x = target.colours[at + i];
        const own = sums[labels[image * plane + i]];
        own[0]++;
        own[1] += x;
        own[2] += x * x;
        n++;
        s += x;
        q += x * x;
      }
      all += q - s * s / n;
      for (const [count, sum, squares] of sums) if (count) within += squares - sum * sum / count;
    }
  }
  return 100 * (1 - within / all);
}

/** Colour steps where the predicted class changes, over those where it does not. */
function edges({ target }: NetworkOutput): number {
  const { height, width, colours, images } = target;
  const plane = height * width;
  const labels = rows(target).map(argmax);
  const sums = [[0, 0], [0, 0]];
  for (let image = 0; image < images; image++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const i = y * width + x;
        for (const j of [x + 1 < width ? i + 1 : -1, y + 1 < height ? i + width : -1]) {
          if (j < 0) continue;
          let d = 0;
          for (let c = 0; c < 3; c++) {
            d += (colours[(3 * image + c) * plane + i] - colours[(3 * image + c) * plane + j]) ** 2;
          }
          const own = sums[labels[image * plane + i] === labels[image * plane + j] ? 0 : 1];
          own[0] += Math.sqrt(d);
          own[1]++;
        }
      }
    }
  }
  return (sums[1][0] / Math.max(1, sums[1][1])) / (sums[0][0] / sums[0][1]);
}

/** Classes of the mean of the peers' probabilities. */
function ensemble(peers: readonly KnownNetwork[]): number[] {
  const [first] = peers;
  const sum = new Float64Array(probabilities(first.output.target).length);
  for (const { output } of peers) {
    probabilities(output.target).forEach((value, i) => sum[i] += value);
  }
  const { target } = first.output;
  return [...pixels(Float32Array.from(sum), target.classes, planeOf(target))].map(argmax);
}

/** Those whose logits are of one size with a network's. */
function comparable({ output }: KnownNetwork, peers: readonly KnownNetwork[]): KnownNetwork[] {
  return peers.filter((peer) => planeOf(peer.output.target) === planeOf(output.target));
}

/** mIoU with the mean of all candidates' probabilities (EnsV: Hu et al., 2023). */
const withEnsemble: Candidate = (network, peers) => {
  const { target } = network.output;
  const others = comparable(network, peers);
  if (others.length === 0) return NaN;
  const labels = ensemble(others);
  return scores(target.classes, labels, rows(target).map(argmax)).mIoU;
};

/** Mean mIoU with each of the other candidates. */
const withPeers: Candidate = (network, peers) => {
  const { target } = network.output;
  const own = rows(target).map(argmax);
  const others = comparable(network, peers).filter(({ output }) => output !== network.output);
  return mean(
    others.map(({ output }) => scores(target.classes, rows(output.target).map(argmax), own).mIoU),
  );
};

const alone = (of: (output: NetworkOutput) => number): Candidate => ({ output }) => of(output);

/** All candidates by name. */
export const CANDIDATES: Readonly<Record<string, Candidate>> = {
  information: alone(information),
  confidence: alone(({ target }) => meanConfidence(target)),
  "balanced entropy": alone(balancedEntropy),
  "source prior": alone(prior),
  "nuclear norm": alone(nuclearNorm),
  "softmax correlation": alone(softmaxCorrelation),
  SND: alone(softNeighbourhoodDensity),
  MaNo: alone(maNo),
  "mirror mIoU": alone((output) => agreement(output, "mirror")),
  "mirror, all classes": alone((output) => fullAgreement(output, "mirror")),
  "scales, all classes": alone((output) => fullAgreement(output, "smaller", "larger")),
  "views, all classes": alone((output) => fullAgreement(output, "mirror", "smaller", "larger")),
  "noise, all classes": alone((output) => fullAgreement(output, "noise")),
  "mirror share": alone((output) => agreementShare(output, "mirror")),
  "mirror KL": alone((output) => klAgreement(output, "mirror")),
  "mirror, sure pixels": alone((output) => confidentAgreement(output, "mirror")),
  "scales mIoU": alone((output) =>
    mean([agreement(output, "smaller"), agreement(output, "larger")])
  ),
  "larger mIoU": alone((output) => agreement(output, "larger")),
  "smaller mIoU": alone((output) => agreement(output, "smaller")),
  "noise mIoU": alone((output) => agreement(output, "noise")),
  "source mIoU": alone(({ source }) => labelledScore(source)),
  "styled source mIoU": alone(({ styled }) => labelledScore(styled)),
  ATC: alone(thresholdedConfidence),
  DoC: alone(differenceOfConfidences),
  compactness: alone(compactness),
  "prototype silhouette": alone(prototypeSilhouette),
  "prototype agreement": alone(prototypeAgreement),
  "reverse prototypes": alone(reversePrototypes),
  "explained colours": alone(explainedColours),
  edges: alone(edges),
  "label-free score": alone((output) =>
    Math.sqrt(softmaxCorrelation(output) * fullAgreement(output, "mirror", "smaller", "larger"))
  ),
  "colours × views": alone((output) =>
    explainedColours(output) * fullAgreement(output, "mirror", "smaller", "larger")
  ),
  "colours × softmax correlation": alone((output) =>
    explainedColours(output) * softmaxCorrelation(output)
  ),
  ensemble: withEnsemble,
  peers: withPeers,
};
