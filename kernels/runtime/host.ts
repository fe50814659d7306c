// What to do where no GPU can be opened, in the words of the host: Deno on each system, Node, a browser.

/** The globals that tell hosts apart. */
export interface HostGlobals {
  readonly Deno?: { readonly build: { readonly os: string } } | undefined;
  readonly process?: { readonly versions?: { readonly node?: string } } | undefined;
  readonly isSecureContext?: boolean | undefined;
  readonly navigator?: { readonly gpu?: unknown } | undefined;
}

/** The drivers by which Deno reaches GPUs, by its name of the system; on all others it is Vulkan. */
const SYSTEM_DRIVERS: Readonly<Record<string, { driver: string; backend: string }>> = {
  windows: {
    driver: "update Windows and the driver of the graphics card, which must support Direct3D 12",
    backend: "dx12",
  },
  darwin: { driver: "use a Mac whose GPU supports Metal", backend: "metal" },
};
const VULKAN = {
  driver: "install a Vulkan driver (on Debian the packages libvulkan1 and mesa-vulkan-drivers)",
  backend: "vulkan",
};

/** Why there is no adapter, and what helps. */
export function noAdapterAdvice(globals: HostGlobals): string {
  const { Deno, process, isSecureContext, navigator } = globals;
  if (Deno) {
    return navigator?.gpu
      ? `WebGPU found no adapter: ${driversOf(Deno.build.os).driver}`
      : "this Deno has no WebGPU: use version 2.9 or newer";
  }
  if (process?.versions?.node !== undefined) {
    return navigator?.gpu
      ? "WebGPU found no adapter: install or update the graphics driver"
      : "Node has no WebGPU: run it in Deno, or set navigator.gpu to that of a package for WebGPU";
  }
  if (navigator?.gpu) {
    return "the browser found no adapter: switch its hardware acceleration on, or update the " +
      "graphics driver";
  }
  return isSecureContext === false
    ? "browsers offer WebGPU to secure pages only: serve this one by https, or from localhost"
    : "this browser has no WebGPU: use a current version of one that does";
}

/** What helps where there is an OpenGL adapter only. */
export function openGlAdvice({ Deno }: HostGlobals): string {
  if (!Deno) return "update the graphics driver";
  const { driver, backend } = driversOf(Deno.build.os);
  return `${driver}, or set DENO_WEBGPU_BACKEND=${backend} to see why nothing better is found`;
}

function driversOf(os: string): { driver: string; backend: string } {
  return SYSTEM_DRIVERS[os] ?? VULKAN;
}
