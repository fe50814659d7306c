// Which adapter a rank takes: by what is listed, named or given.

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type AdapterFacts,
  checkChosen,
  checkDistinct,
  checkLayer,
  chooseAdapter,
  isAdapterName,
  kindOf,
  readGpus,
  threadsFor,
} from "../../../train/parallel/adapters.ts";
import { dataError, withFolder } from "../_folder.ts";

const GPUS = readGpus("0000:65:00.0 10de:2330\n0000:b1:00.0 10de:2330\n");

function choose(facts: Partial<AdapterFacts>, environment: Record<string, string> = {}) {
  return chooseAdapter({
    ...{ gpus: GPUS, asked: null, localRank: 0, localRanks: 2, shares: false },
    read: (name) => environment[name],
    ...facts,
  });
}

Deno.test("GPUs are read by address, those of the processor's own bus last", () => {
  const listed =
    "0000:00:02.0 8086:4680\nnonsense\n0000:65:00.0 10de:2330\n0000:17:00.0 1002:744c\n";
  assert.deepEqual(readGpus(listed).map(({ address }) => address), [
    "0000:17:00.0",
    "0000:65:00.0",
    "0000:00:02.0",
  ]);
  assert.deepEqual(readGpus(""), []);
});

Deno.test("each rank of a machine takes a GPU by its address, as kinds are alike", () => {
  for (const localRank of [0, 1]) {
    const { address } = GPUS[localRank];
    assert.deepEqual(choose({ localRank }), {
      environment: { DRI_PRIME: ["pci-0000_65_00_0!", "pci-0000_b1_00_0!"][localRank] },
      wanted: address,
      kind: "10de:2330",
    });
  }
});

Deno.test("nothing is set where a rank sees one GPU, is alone, or knows of none", () => {
  const [one] = GPUS;
  assert.deepEqual(choose({ gpus: [one], localRank: 1 }), {
    ...{ environment: {}, wanted: one.address, kind: null },
  });
  assert.deepEqual(choose({ localRanks: 1 }), { environment: {}, wanted: null, kind: null });
  assert.deepEqual(choose({ gpus: [] }), { environment: {}, wanted: null, kind: null });
});

Deno.test("what the environment chooses stays, and the user's names come before it", () => {
  const environment = { DRI_PRIME: "pci-0000_b1_00_0!" };
  assert.deepEqual(choose({}, environment), {
    ...{ environment: {}, wanted: "DRI_PRIME=pci-0000_b1_00_0!", kind: null },
  });
  const asked = ["10005:0", "0000:b1:00.0"];
  assert.deepEqual(choose({ asked }, environment), {
    ...{ environment: { MESA_VK_DEVICE_SELECT: "10005:0!" }, wanted: "10005:0", kind: "10005:0" },
  });
  assert.deepEqual(choose({ asked, localRank: 1 }, environment), {
    environment: { DRI_PRIME: "pci-0000_b1_00_0!" },
    wanted: "0000:b1:00.0",
    kind: "10de:2330",
  });
  assert.equal(choose({ asked: ["0000:17:00.0"], localRanks: 1 }).kind, null, "not listed");
});

Deno.test("more ranks than adapters are refused unless they share them", () => {
  const third = { localRank: 2, localRanks: 3 };
  assert.throws(
    () => choose(third),
    dataError("this machine has 3 ranks, and only 0000:65:00.0, 0000:b1:00.0 are open to it: "),
  );
  assert.throws(
    () => choose({ asked: ["10005:0"] }),
    dataError("this machine has 2 ranks, and only 10005:0 is named: "),
  );
  assert.equal(choose({ ...third, shares: true }).wanted, GPUS[0].address);
  assert.equal(choose({ asked: ["10005:0"], localRank: 1, shares: true }).wanted, "10005:0");
});

Deno.test("an adapter of another kind than was wanted is refused", () => {
  const seen = { description: "H200", vendor: String(0x10de), device: String(0x2335) };
  assert.equal(kindOf(seen), "10de:2335");
  assert.throws(
    () => checkChosen(choose({}), seen),
    dataError(
      'Cannot train on adapter 0000:65:00.0 as "H200" (10de:2335) was given in its place: ',
    ),
  );
  checkChosen(choose({}), { ...seen, device: String(0x2330) });
  const llvmpipe = { description: "llvmpipe", vendor: String(0x10005), device: "0" };
  checkChosen(choose({ asked: ["10005:0000"], localRanks: 1 }), llvmpipe);
  checkChosen(choose({ gpus: [] }), llvmpipe);
});

Deno.test("two ranks of a machine on one adapter are told apart by what was selected", () => {
  const [host, description] = ["a", "H200"];
  const [first, second] = GPUS.map(({ address: wanted }) => ({ host, description, wanted }));
  checkDistinct([first, second, { ...first, host: "b" }]);
  assert.throws(
    () => checkDistinct([first, { ...second, host: "b" }, first]),
    dataError(
      'Cannot train as ranks 0 and 2 on a have one adapter (both were to get 0000:65:00.0, "H200")',
    ),
  );
  const unknown = { ...first, wanted: null };
  assert.throws(
    () => checkDistinct([unknown, unknown]),
    dataError('both were given the first that there is, "H200"'),
  );
  checkDistinct([unknown, { ...unknown, description: "SwiftShader" }]);
});

Deno.test("names of adapters are addresses or kinds", () => {
  for (const name of ["0000:65:00.0", "10de:2330", "10005:0"]) assert.ok(isAdapterName(name), name);
  for (const name of ["65:00.0", "0", "nvidia", "0000:65:00.9", "10de:2330!"]) {
    assert.ok(!isAdapterName(name), name);
  }
});

Deno.test("processors are divided among ranks on one software adapter, one each at least", () => {
  assert.deepEqual([[8, 2], [8, 3], [2, 4], [1, 1]].map(([p, n]) => threadsFor(p, n)), [
    4,
    2,
    1,
    1,
  ]);
});

Deno.test("without Mesa's layer nothing is chosen", () =>
  withFolder((folder) => {
    assert.throws(
      () => checkLayer([folder]),
      dataError("VkLayer_MESA_device_select.json is in none"),
    );
    Deno.writeTextFileSync(join(folder, "VkLayer_MESA_device_select.json"), "{}");
    checkLayer(["/nowhere", folder]);
  }));
