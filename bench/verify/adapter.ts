// The adapter: its names, limits and features, what it grants, and whether it computes at all.

import { diagnose } from "../../cli/diagnosis.ts";
import { openGpu } from "../../kernels/runtime/mod.ts";
import { row, runPart, tableHead } from "./part.ts";

/** What is asked for one by one; Deno may grant what it does not list. */
const WANTED = ["timestamp-query", "shader-f16", "subgroups"] as const;

await runPart(async (part) => {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    const { verdict } = await diagnose();
    part.say(verdict);
    part.conclude(verdict, "failed");
    return;
  }
  const { info, limits } = adapter;
  const granted: string[] = [];
  for (const feature of WANTED) {
    const fresh = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    const device = await fresh?.requestDevice({ requiredFeatures: [feature] }).catch(() => null);
    if (device) granted.push(feature);
    device?.destroy();
  }
  part.fact("timestamps", granted.includes("timestamp-query"));
  part.fact("half", granted.includes("shader-f16"));
  part.fact("software", info.isFallbackAdapter);
  const { verdict, computes, backend } = await diagnose();
  let kernels = "no device";
  try {
    using gpu = await openGpu();
    kernels = gpu.kernelClass;
  } catch (error) {
    kernels = (error as Error).message;
  }
  const facts = {
    description: info.description,
    vendor: `${info.vendor} ${info.architecture}`,
    device: info.device,
    "software adapter": info.isFallbackAdapter ? "yes" : "no",
    backend: backend ?? "chosen by Deno",
    "class of kernels": kernels,
    subgroups: `${info.subgroupMinSize} to ${info.subgroupMaxSize}`,
    granted: granted.join(", ") || "nothing",
    "known answers": verdict,
  };
  part.say(tableHead("adapter", ""), ...Object.entries(facts).map((entry) => row(...entry)), "");
  part.say(tableHead("limit", ""));
  for (const name of limitNames(limits)) {
    part.say(row(name, limits[name].toLocaleString("en-US")));
  }
  part.say("", `Features: ${[...adapter.features].sort().join(", ")}.`);
  if (!computes) part.wrong(verdict);
  part.conclude(`${info.description}, class ${kernels}, grants ${granted.join(", ")}`);
});

type LimitName = Exclude<keyof GPUSupportedLimits, "__brand">;

/** The limits that say something about compute. */
function limitNames(limits: GPUSupportedLimits): LimitName[] {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(limits)));
  return names.filter((name): name is LimitName =>
    /compute|buffer|binding|alignment/i.test(name) && !/vertex|texture|sampler|fragment/i.test(name)
  ).sort();
}
