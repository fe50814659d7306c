import assert from "node:assert/strict";
import { VERSION } from "../../../train/base/version.ts";

Deno.test("runs record the version of deno.json", () => {
  const path = new URL("../../../deno.json", import.meta.url);
  assert.equal(VERSION, JSON.parse(Deno.readTextFileSync(path)).version);
});
