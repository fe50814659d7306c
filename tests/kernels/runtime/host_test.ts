// The advice where no GPU can be opened fits the host.

import assert from "node:assert/strict";
import { type HostGlobals, noAdapterAdvice, openGlAdvice } from "../../../kernels/runtime/host.ts";

const deno = (os: string): HostGlobals => ({ Deno: { build: { os } }, navigator: { gpu: {} } });
const node = { process: { versions: { node: "22.0.0" } } };

Deno.test("the advice about a missing adapter is the host's", () => {
  const advice: [HostGlobals, RegExp][] = [
    [deno("linux"), /^WebGPU found no adapter: install a Vulkan driver .*libvulkan1/],
    [deno("freebsd"), /: install a Vulkan driver/],
    [deno("windows"), /^WebGPU found no adapter: update Windows .* Direct3D 12$/],
    [deno("darwin"), /^WebGPU found no adapter: use a Mac .* Metal$/],
    [{ Deno: { build: { os: "linux" } } }, /^this Deno has no WebGPU: use version/],
    // Deno has Node's globals, too.
    [{ ...deno("linux"), ...node }, /Vulkan/],
    [node, /^Node has no WebGPU: run it in Deno, or set navigator\.gpu/],
    [{ ...node, navigator: { gpu: {} } }, /^WebGPU found no adapter: install or update/],
    [{ navigator: { gpu: {} }, isSecureContext: true }, /^the browser found no adapter: /],
    [{ navigator: {}, isSecureContext: false }, /secure pages only: serve this one by https/],
    [{ navigator: {}, isSecureContext: true }, /^this browser has no WebGPU: /],
    [{}, /^this browser has no WebGPU: /],
  ];
  for (const [globals, expected] of advice) assert.match(noAdapterAdvice(globals), expected);
});

Deno.test("the advice about OpenGL names the backend of the system, and in a browser none", () => {
  assert.match(openGlAdvice(deno("linux")), /Vulkan driver .* DENO_WEBGPU_BACKEND=vulkan to see/);
  assert.match(openGlAdvice(deno("windows")), /Direct3D 12, or set DENO_WEBGPU_BACKEND=dx12 /);
  assert.match(openGlAdvice(deno("darwin")), /DENO_WEBGPU_BACKEND=metal /);
  for (const host of [node, { navigator: { gpu: {} } }]) {
    assert.equal(openGlAdvice(host), "update the graphics driver");
  }
});

Deno.test("only the advice for Linux speaks of Vulkan", () => {
  for (const host of [deno("windows"), deno("darwin"), node, { navigator: {} }]) {
    assert.doesNotMatch(noAdapterAdvice(host) + openGlAdvice(host), /Vulkan|Debian/);
  }
});
