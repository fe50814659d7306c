// The experiments: every file is a valid configuration, and says what was published.

import assert from "node:assert/strict";
import { resolveConfig } from "../../cli/train_config.ts";
import { presetConfig } from "../../train/config/config.ts";
import type { RunConfig } from "../../train/config/settings.ts";

const FOLDER = new URL("../../experiments/", import.meta.url);
const pathOf = (name: string) => new URL(name, FOLDER).pathname;

function resolved(...names: string[]): Promise<RunConfig> {
  return resolveConfig({ config: names.map(pathOf), out: "runs/test" }, new Date(0));
}

Deno.test("every experiment is a configuration that can run", async () => {
  const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name);
  assert.ok(names.length >= 3, `only ${names} were found`);
  for (const name of names) await resolved(name);
});

Deno.test("GTA5 to Cityscapes is trained as published, stage by stage", async () => {
  const { network, data, stages, pipeline, handOn } = await resolved("gta5_to_cityscapes.json");
  const full = presetConfig("full");
  assert.equal(handOn, full.handOn);
  assert.deepEqual([network, stages], [full.network, { ...full.stages, oracle: stages.oracle }]);
  assert.deepEqual(pipeline, ["source", "warmup", "stage1", "selfsup", "stage2", "stage3"]);
  assert.deepEqual(data, {
    ...full.data,
    sourceDirectory: "data/gta5",
    sourceLayout: "gta5",
    targetDirectory: "data/cityscapes",
    targetLayout: "cityscapes",
    classes: ["19"],
  });
});

Deno.test("SYNTHIA to Cityscapes differs by its data, its 16 classes, and the lack of a regulariser", async () => {
  const gta5 = await resolved("gta5_to_cityscapes.json");
  const { stages, data, ...rest } = gta5;
  assert.deepEqual(await resolved("synthia_to_cityscapes.json"), {
    ...rest,
    stages: { ...stages, stage1: { ...stages.stage1, gamma2: 0 } },
    data: { ...data, sourceDirectory: "data/synthia", sourceLayout: "synthia", classes: ["16"] },
  });
});

Deno.test("one GPU changes nothing but the memory settings", async () => {
  for (const name of ["gta5_to_cityscapes.json", "synthia_to_cityscapes.json"]) {
    const whole = await resolved(name);
    const { memory, ...rest } = await resolved(name, "one_gpu.json");
    assert.deepEqual({ ...rest, memory: whole.memory }, whole);
    assert.equal(memory.recompute, true);
    assert.equal(memory.accumulate, 4);
  }
});
