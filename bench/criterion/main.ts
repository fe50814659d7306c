/**
 * How criteria that need no target labels rank networks of several methods: Spearman's coefficient
 * with their mIoU, for every candidate and every group of networks.
 *
 *     deno run --allow-read --allow-write bench/criterion/main.ts --cache outputs \
 *       streets-0=runs/ablation/seed-0 earth=runs/earth
 *
 * A group is a name and a run folder, or a folder of run folders; a name may come more than once. All
 * networks of a group see the same images. Oracles are left out, and put in beside. What networks make
 * of the images is kept in the cache folder, 17 MB a network of streets.
 */
import { parseArgs } from "node:util";
import { openGpu } from "../../kernels/runtime/mod.ts";
import { tableLines } from "../../train/base/text.ts";
import { makeFolder } from "../../train/base/folders.ts";
import { ConfusionMatrix } from "../../train/evaluation/metrics.ts";
import { CANDIDATES } from "./candidates.ts";
import { type KnownNetwork, networksIn } from "./networks.ts";

/** The rank of every value, the mean of ranks where some are equal. */
function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const less = values.filter((other) => other < value).length;
    return less + (values.filter((other) => other === value).length + 1) / 2;
  });
}

/** Spearman's coefficient: the correlation of ranks. */
function spearman(a: readonly number[], b: readonly number[]): number {
  const [x, y] = [ranks(a), ranks(b)];
  const middle = (a.length + 1) / 2;
  const sum = (u: readonly number[], v: readonly number[]) =>
    u.reduce((all, value, i) => all + (value - middle) * (v[i] - middle), 0);
  return sum(x, y) / Math.sqrt(sum(x, x) * sum(y, y));
}

/** mIoU on the images that the candidates see. */
function truthOf({ output: { target } }: KnownNetwork): number {
  const matrix = new ConfusionMatrix(target.classes);
  matrix.addPixels(target.fullTruth, target.views.plain?.labels ?? []);
  return matrix.scores().mIoU;
}

const { values: { cache }, positionals } = parseArgs({
  options: { cache: { type: "string", default: "criterion" } },
  allowPositionals: true,
});
makeFolder(cache);
const gpu = await openGpu();
const groups = new Map<string, KnownNetwork[]>();
for (const argument of positionals) {
  const [group = "", folder = ""] = argument.split("=");
  const found = await networksIn(gpu, group, folder, cache);
  groups.set(group, [...groups.get(group) ?? [], ...found]);
}
gpu.close();

const columns = [...groups].map(([group, networks]) => {
  const adapted = networks.filter(({ stage }) => stage !== "oracle");
  const truth = new Map(networks.map((network) => [network, truthOf(network)]));
  return {
    title: `${group} (${adapted.length})`,
    cell: (name: string) => {
      const value = CANDIDATES[name] as typeof CANDIDATES[string];
      const rank = (own: readonly KnownNetwork[]) =>
        spearman(
          own.map((network) => truth.get(network) ?? NaN),
          own.map((network) => value(network, adapted)),
        ).toFixed(2);
      const all = networks.length > adapted.length ? `, ${rank(networks)} with oracles` : "";
      return rank(adapted) + all;
    },
  };
});
const table = [
  ["criterion", ...columns.map(({ title }) => title)],
  ...Object.keys(CANDIDATES).map((name) => [name, ...columns.map(({ cell }) => cell(name))]),
];
console.log(tableLines(table).join("\n"));
