// Tests of products in f16: not every adapter has halves, such as SwiftShader.

import { testGpu } from "./_device.ts";

const { hasHalves } = await testGpu("shared");

/** A test that is ignored, and says why, where the adapter has no halves. */
export function testInHalves(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name: hasHalves ? name : `${name}: the adapter has none`, ignore: !hasHalves, fn });
}
