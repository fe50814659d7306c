// Opening a device: which adapter, and which of its limits and features.

import type { Gpu } from "./array.ts";
import { Device } from "./device.ts";
import { GpuError } from "./errors.ts";
import { noAdapterAdvice, openGlAdvice } from "./host.ts";
import type { GpuOptions } from "./options.ts";

/**
 * Limits above WebGPU's defaults that the library asks for, each where the adapter has it: large
 * arrays in one buffer and in one binding.
 */
const WANTED_LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;

/**
 * Opens the machine's GPU, the fastest that WebGPU offers.
 *
 * @example Double numbers on the GPU
 * ```ts
 * import { kernels, openGpu } from "@proda/webgpu";
 * const gpu = await openGpu();
 * const x = gpu.upload(new Float32Array([1, 2, 3]), [3], "x");
 * console.log(await kernels.scaleForward(x, 2).read()); // Float32Array(3) [ 2, 4, 6 ]
 * gpu.close();
 * ```
 * @throws {GpuError} If there is no adapter or only an OpenGL one, if it gives no device, or if it has
 *   no timestamp queries and `profile` or `autotune` asks for them.
 */
export async function openGpu(options: GpuOptions = {}): Promise<Gpu> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter({
    powerPreference: "high-performance",
  });
  if (!adapter) {
    throw new GpuError(`Cannot open a GPU as ${noAdapterAdvice(globalThis)}`);
  }
  if (isOpenGl(adapter)) {
    throw new GpuError(
      `Cannot open "${nameOf(adapter)}" as it is an OpenGL adapter, on which kernels are ` +
        `neither fast nor checked: ${openGlAdvice(globalThis)}`,
    );
  }
  const hasTimestamps = adapter.features.has("timestamp-query");
  const autotune = options.autotune === "auto"
    ? hasTimestamps && !adapter.info.isFallbackAdapter
    : options.autotune;
  const timestamps = options.profile || autotune;
  if (timestamps && !hasTimestamps) {
    const option = options.profile ? "profile" : "autotune";
    throw new GpuError(
      `Cannot ${option} on "${nameOf(adapter)}" as it has no timestamp queries: open it ` +
        `without \`${option}\``,
      { options: [option] },
    );
  }
  const requiredLimits: Record<string, number> = {};
  for (const limit of WANTED_LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const requiredFeatures: GPUFeatureName[] = timestamps ? ["timestamp-query"] : [];
  if (adapter.features.has("shader-f16")) requiredFeatures.push("shader-f16");
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures }).catch(
    (cause: Error) => {
      throw new GpuError(
        `Cannot open "${nameOf(adapter)}" as it gives no device (${cause.message}): close ` +
          "other programs that use it, or update its driver",
        { cause },
      );
    },
  );
  return new Device(device, {
    description: nameOf(adapter),
    vendor: adapter.info.vendor,
    architecture: adapter.info.architecture,
    device: adapter.info.device,
    isFallback: adapter.info.isFallbackAdapter,
    features: [...adapter.features],
  }, { ...options, autotune });
}

/** What an adapter is called: browsers tell its vendor and family alone, and some not even these. */
function nameOf({ info: { description, vendor, architecture, device } }: GPUAdapter): string {
  return description || [vendor, architecture, device].filter(Boolean).join(" ") ||
    "an adapter without a name";
}

// Deno falls back to OpenGL without a word where Vulkan finds no driver. An OpenGL adapter reports
// no bound on bindings and never has this feature, which every Vulkan, Metal and D3D12 one has.
function isOpenGl(adapter: GPUAdapter): boolean {
  return adapter.limits.maxBindingsPerBindGroup === 0xffffffff &&
    !adapter.features.has("bgra8unorm-storage");
}
