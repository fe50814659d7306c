// cli/gpus.sh on systems that are folders.

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { withFolder } from "../train/_folder.ts";

const SCRIPT = fileURLToPath(new URL("../../cli/gpus.sh", import.meta.url));

interface Gpu {
  readonly address: string;
  readonly kind: readonly [vendor: string, device: string];
  /** Its node, such as `dri/renderD128`, where this process sees it. */
  readonly node?: string;
  readonly render?: string;
  readonly minor?: number;
}

function write(root: string, path: string, text = ""): void {
  Deno.mkdirSync(dirname(join(root, path)), { recursive: true });
  Deno.writeTextFileSync(join(root, path), text);
}

function addGpu(root: string, { address, kind: [vendor, device], node, render, minor }: Gpu): void {
  const place = `sys/devices/pci0000:00/${address}`;
  write(root, `${place}/vendor`, `0x${vendor}\n`);
  write(root, `${place}/device`, `0x${device}\n`);
  Deno.mkdirSync(join(root, "sys/bus/pci/devices"), { recursive: true });
  Deno.symlinkSync(join(root, place), join(root, "sys/bus/pci/devices", address));
  if (render !== undefined) {
    Deno.mkdirSync(join(root, "sys/class/drm", render), { recursive: true });
    Deno.symlinkSync(join(root, place), join(root, "sys/class/drm", render, "device"));
  }
  if (minor !== undefined) {
    const text =
      `Model: \t\t NVIDIA H200\nBus Location: \t ${address}\nDevice Minor: \t ${minor}\n`;
    write(root, `proc/driver/nvidia/gpus/${address}/information`, text);
  }
  if (node !== undefined) write(root, `dev/${node}`);
}

async function listed(root: string): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", { args: [SCRIPT, root] })
    .output();
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean);
}

const ignore = Deno.build.os === "windows";

Deno.test(
  "GPUs are listed by address, those that this process may open",
  { ignore },
  () =>
    withFolder(async (root) => {
      assert.deepEqual(await listed(root), [], "a system without any");
      const [h200, amd]: Gpu["kind"][] = [["10de", "2335"], ["1002", "744c"]];
      addGpu(root, { address: "0000:b1:00.0", kind: h200, minor: 1, node: "nvidia1" });
      addGpu(root, { address: "0000:65:00.0", kind: h200, minor: 0, render: "renderD128" });
      write(root, "dev/dri/renderD128"); // its own node alone counts, which a scheduler hides
      addGpu(root, {
        ...{ address: "0000:ca:00.0", kind: h200, minor: 12 },
        ...{ render: "renderD129", node: "nvidia12" },
      });
      addGpu(root, { address: "0000:03:00.0", kind: amd, render: "renderD130" });
      addGpu(root, {
        ...{ address: "0000:17:00.0", kind: amd, render: "renderD131", node: "dri/renderD131" },
      });
      assert.deepEqual(await listed(root), [
        "0000:17:00.0 1002:744c",
        "0000:b1:00.0 10de:2335",
        "0000:ca:00.0 10de:2335",
      ]);
    }),
);

Deno.test(
  "what is no device on the PCI bus is passed over",
  { ignore },
  () =>
    withFolder(async (root) => {
      Deno.mkdirSync(join(root, "sys/class/drm/renderD128"), { recursive: true });
      Deno.mkdirSync(join(root, "sys/devices/platform/soc"), { recursive: true });
      Deno.symlinkSync(
        join(root, "sys/devices/platform/soc"),
        join(root, "sys/class/drm/renderD128/device"),
      );
      write(root, "dev/dri/renderD128");
      assert.deepEqual(await listed(root), []);
    }),
);
