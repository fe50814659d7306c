// Why a browser has no WebGPU, and what helps, in one sentence for this browser.

/** What tells browsers apart. */
interface Browser {
  readonly userAgent: string;
  readonly gpu?: { requestAdapter(): Promise<unknown> } | undefined;
}

/** What helps to get WebGPU in this browser; null where it is there. */
export async function adviceFor(
  { userAgent, gpu }: Browser,
  isSecureContext: boolean,
): Promise<string | null> {
  if (!isSecureContext) {
    return "Browsers offer WebGPU to secure pages only: open this page by https, or from localhost.";
  }
  if (gpu) {
    const adapter = await gpu.requestAdapter().catch(() => null);
    if (adapter) return null;
    return "This browser has WebGPU and found no GPU that it may use: switch hardware acceleration " +
      "on in its settings, or update the graphics driver.";
  }
  return `${browserOf(userAgent)} Below is a recorded run.`;
}

function browserOf(userAgent: string): string {
  if (/Firefox\//.test(userAgent)) {
    return "This Firefox has no WebGPU: it comes with version 141 on Windows and 145 on Macs with " +
      "Apple's processors; elsewhere take Chrome or Edge.";
  }
  if (/Edg\/|Chrome\//.test(userAgent)) {
    return "This browser has no WebGPU: it comes with version 113, and on Linux it may have to be " +
      "switched on by chrome://flags/#enable-unsafe-webgpu.";
  }
  if (/Safari\//.test(userAgent)) {
    return "This Safari has no WebGPU: it comes with version 26.";
  }
  return "This browser has no WebGPU: take a current Chrome, Edge, Safari or Firefox.";
}
