// Buffers by which numbers come to the host, and the wait for them.

import { GpuError } from "./errors.ts";
import { formatBytes } from "./shape.ts";

/** A buffer by which numbers come to the host. */
export function stagingBuffer(device: GPUDevice, label: string, bytes: number): GPUBuffer {
  const staging = device.createBuffer({
    label,
    size: Math.ceil(bytes / 65536) * 65536,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    mappedAtCreation: true, // see `mapEarly`
  });
  staging.unmap();
  return staging;
}

/**
 * Waits for numbers on their way to a staging buffer.
 *
 * @returns The bytes, until the buffer is unmapped.
 * @throws {GpuError} If the GPU does not give them.
 */
export type MapForReading = (
  device: GPUDevice,
  staging: GPUBuffer,
  numbers: { readonly label: string | undefined; readonly bytes: number },
) => Promise<ArrayBuffer>;

/** Waits as WebGPU says. */
export const mapForReading: MapForReading = async (device, staging, { label, bytes }) => {
  const length = Math.ceil(bytes / 8) * 8;
  try {
    await staging.mapAsync(GPUMapMode.READ, 0, length);
  } catch (cause) {
    throw await failedTransfer(device, cause as Error, { label, bytes });
  }
  return staging.getMappedRange(0, length);
};

/**
 * Waits no longer than it takes. Deno has waited for the GPU when `mapAsync` returns, but keeps its promise
 * ten milliseconds later, which is longer than all the rest where many small numbers are waited for one
 * after the other; so the promise may be pending still when this is done. Deno panics where it is asked for
 * a range of a buffer that has never been mapped at all, hence `mappedAtCreation`.
 */
export const mapEarly: MapForReading = async (device, staging, { label, bytes }) => {
  const length = Math.ceil(bytes / 8) * 8;
  const mapping = staging.mapAsync(GPUMapMode.READ, 0, length);
  mapping.catch(() => {}); // heard of below
  try {
    return staging.getMappedRange(0, length);
  } catch { // not mapped yet
    await mapping.catch(async (cause) => {
      throw await failedTransfer(device, cause, { label, bytes });
    });
    return staging.getMappedRange(0, length);
  }
};

/** What to throw where a transfer fails. */
async function failedTransfer(
  device: GPUDevice,
  cause: Error,
  { label, bytes }: { readonly label: string | undefined; readonly bytes: number },
): Promise<Error> {
  if (await isLost(device)) return cause; // the device says more
  return new GpuError(
    `Cannot read back "${label}" as the GPU did not give ${formatBytes(bytes)} to the host ` +
      `(${cause.message}): it may be out of memory; use smaller batches or crops`,
    { cause },
  );
}

/** How long the news of a lost device may come after the failure of what it was asked, in milliseconds. */
const NEWS_DELAY = 200;

/** Whether the device is lost: that is told a little later than what fails through it. */
async function isLost(device: GPUDevice): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isStillThere = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), NEWS_DELAY);
  });
  try {
    return await Promise.race([device.lost.then(() => true), isStillThere]);
  } finally {
    clearTimeout(timer);
  }
}
