import assert from "node:assert/strict";
import project from "../../../deno.json" with { type: "json" };
import { VERSION } from "../../../train/base/version.ts";

Deno.test("runs record the version of deno.json", () => {
  assert.equal(VERSION, project.version);
});
