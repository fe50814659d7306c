// Configurations of ranks that were started differently.

import assert from "node:assert/strict";
import { checkSame } from "../../cli/same_config.ts";
import { presetConfig } from "../../train/config/config.ts";
import { dataError } from "../train/_folder.ts";

Deno.test("ranks that were started alike are let through, others told of the first difference", () => {
  const first = presetConfig("quick");
  checkSame(1, structuredClone(first), first);
  const { stages } = first;
  for (
    const [own, difference] of [
      [{ ...first, seed: 7 }, "seed is 7 in place of 0;"],
      [{ ...first, pipeline: ["source"] }, 'pipeline is ["source"] in place of ['],
      [
        { ...first, stages: { ...stages, stage1: { ...stages.stage1, steps: 3 } } },
        `stages.stage1.steps is 3 in place of ${stages.stage1.steps};`,
      ],
      [{ ...first, init: undefined }, "init is nothing in place of null;"],
    ] as const
  ) {
    assert.throws(
      () => checkSame(2, own as unknown as typeof first, first),
      dataError(`as rank 2 was started with another configuration than rank 0: ${difference}`),
    );
  }
});
