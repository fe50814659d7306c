// Where a report was made: the machine, the driver, the commit. Everything is optional but Deno
// itself.

import { dirname, isAbsolute, join } from "node:path";

/** What a report says of its machine, as rows of a table. */
export function describeMachine(root: string): [name: string, value: string][] {
  const cpu = firstMatch("/proc/cpuinfo", /^model name\s*:\s*(.*)$/m);
  const system = firstMatch("/etc/os-release", /^PRETTY_NAME="?([^"\n]*)"?$/m);
  const nvidia = firstMatch("/proc/driver/nvidia/version", /^NVRM version:\s*(.*)$/m);
  const { os, arch } = Deno.build;
  return [
    ["date", new Date().toISOString()],
    ["commit", commitOf(root) ?? "unknown"],
    ["Deno", `${Deno.version.deno}, V8 ${Deno.version.v8}`],
    [
      "system",
      [`${os} ${arch}`, attempt(() => Deno.osRelease()), system].filter(Boolean).join(", "),
    ],
    ["processor", [cpu, `${navigator.hardwareConcurrency} threads`].filter(Boolean).join(", ")],
    ...(nvidia === undefined ? [] : [["NVIDIA driver", nvidia] as [string, string]]),
  ];
}

/** The commit that a checkout stands at, read from its files; undefined where it is none. */
export function commitOf(root: string): string | undefined {
  return attempt(() => {
    let folder = join(root, ".git");
    if (Deno.statSync(folder).isFile) { // a worktree
      const [, path = ""] = /^gitdir: (.*)$/m.exec(Deno.readTextFileSync(folder)) ?? [];
      folder = isAbsolute(path) ? path : join(root, path);
    }
    const head = Deno.readTextFileSync(join(folder, "HEAD")).trim();
    const [, ref] = /^ref: (.*)$/.exec(head) ?? [];
    if (ref === undefined) return head;
    const common = attempt(() => Deno.readTextFileSync(join(folder, "commondir")).trim());
    const main = common === undefined ? folder : join(folder, common);
    return attempt(() => Deno.readTextFileSync(join(main, ref)).trim()) ??
      firstMatch(join(main, "packed-refs"), new RegExp(`^([0-9a-f]{40}) ${ref}$`, "m"));
  });
}

/** Where the libraries of a Linux machine may lie that drivers come with. */
const LIBRARIES = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/lib/aarch64-linux-gnu",
];
/** Where Vulkan looks for drivers. */
const DRIVERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
/** The backends by which Deno must reach GPUs: it may fall back to OpenGL without a word. */
const BACKENDS: Partial<Record<typeof Deno.build.os, string>> = {
  darwin: "metal",
  linux: "vulkan",
  windows: "dx12",
};

/**
 * What the environment of processes with a GPU lacks: the backend; on Linux the Vulkan loader where
 * it lies beside the project, and NVIDIA's driver where it is there and was not announced.
 */
export function missingEnvironment(root: string): Record<string, string> {
  const { os } = Deno.build;
  const added: Record<string, string> = {};
  const backend = BACKENDS[os];
  if (!Deno.env.get("DENO_WEBGPU_BACKEND") && backend) added.DENO_WEBGPU_BACKEND = backend;
  if (os !== "linux") return added;
  const loader = "libvulkan.so.1";
  const beside = [root, dirname(root), join(root, "lib"), join(dirname(root), "lib")]
    .find((folder) => isThere(join(folder, loader)));
  if (beside !== undefined) {
    const before = attempt(() => Deno.env.get("LD_LIBRARY_PATH"));
    added.LD_LIBRARY_PATH = before ? `${beside}:${before}` : beside;
  }
  const nvidia = LIBRARIES.some((folder) => isThere(join(folder, "libGLX_nvidia.so.0")));
  const isAnnounced = DRIVERS.some((folder) =>
    attempt(() => [...Deno.readDirSync(folder)].some(({ name }) => name.includes("nvidia")))
  );
  if (nvidia && !isAnnounced) {
    added.VK_ADD_DRIVER_FILES = join(root, "bench/verify/nvidia_icd.json");
  }
  return added;
}

function isThere(path: string): boolean {
  return attempt(() => Deno.statSync(path)) !== undefined;
}

function firstMatch(path: string, pattern: RegExp): string | undefined {
  return attempt(() => pattern.exec(Deno.readTextFileSync(path))?.[1]?.trim());
}

function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined;
  }
}
