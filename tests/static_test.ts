// What is measured without a GPU: the reading of what drivers print, and the figures themselves,
// beside those recorded in bench/static/tables/.

import assert from "node:assert/strict";
import { sections } from "../bench/static/marks.ts";
import {
  CLASSES,
  DEFAULT_STEPS,
  FAMILIES,
  FULL_STEPS,
  kernelsOf,
  type Measurement,
  measureSteps,
  recordedTable,
  whyNot,
} from "../bench/static/measure.ts";
import { plannedCommands } from "../bench/static/planned.ts";
import { parseStatistics } from "../bench/static/statistics.ts";
import {
  fromTsv,
  regressions,
  type Table,
  tableOf,
  toMarkdown,
  toTsv,
} from "../bench/static/tables.ts";
import { presetConfig } from "../train/config/config.ts";
import { STAGES } from "../train/stages/kinds.ts";

const STATISTICS = `
Compute Shader:
*** SHADER STATS ***
SGPRs: 128
VGPRs: 120
Spilled SGPRs: 1
Spilled VGPRs: 2
Code size: 6520
LDS size: 9216
Subgroups per SIMD: 12
Latency: 8688
Inverse Throughput: 2571
Pre-Sched VGPRs: 111
********************
`;

/** Two loops, the second within another; `wait` comes before its products. */
function listing(wait: string, products: readonly string[]): string {
  return [
    "BB0:",
    "\ts_load_b128 s[0:3], s[2:3], null                            ; f4080001 f8000000",
    "BB1:",
    "\tv_fma_f32 v1, v2, v3, v1                                    ; d6130001 04060702",
    "\ts_cbranch_scc0 BB1                                          ; bfa1fffd",
    "BB2:",
    "\tv_mov_b32_e32 v4, 0                                         ; 7e080280",
    "BB3:",
    "\ts_add_u32 s4, s4, 1                                         ; 80048104",
    "\tbuffer_load_b128 v[0:3], v9, s[0:3], 0 offen                ; e05c0000 80400009",
    "\tbuffer_load_b128 v[4:7], v9, s[0:3], 0 offen offset:16      ; e05c0010 80400409",
    "\ts_delay_alu instid0(VALU_DEP_1)                             ; bf870001",
    `\t${wait}`,
    "\tds_load_b128 v[10:13], v8                                   ; dbfc0000 0a000008",
    ...products.map((line) => `\t${line}`),
    "\ts_cbranch_scc1 BB3                                          ; bfa2fff0",
    "\ts_cbranch_scc1 BB2                                          ; bfa2ffe0",
    "BB4:",
    "\ts_endpgm                                                    ; bfb00000",
    STATISTICS,
  ].join("\n");
}

const DUAL = [
  "v_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6    ; c8000702 01040705",
  "v_dual_fmac_f32 v1, v2, v3 :: v_dual_mov_b32 v7, v8         ; c8100702 01060108",
];

Deno.test("statistics of a pipeline are read, and spills of both kinds are added", () => {
  const { registers, spills, ldsBytes, waves, codeBytes, latency, inverseThroughput } =
    parseStatistics(listing("s_nop 0", DUAL));
  assert.deepEqual(
    { registers, spills, ldsBytes, waves, codeBytes, latency, inverseThroughput },
    {
      registers: 120,
      spills: 3,
      ldsBytes: 9216,
      waves: 12,
      codeBytes: 6520,
      latency: 8688,
      inverseThroughput: 2571,
    },
  );
});

Deno.test("the product loop has the most products, where dual instructions count twice", () => {
  const { products, vector, scalar, lds, loads } = parseStatistics(listing("s_nop 0", DUAL));
  assert.deepEqual(
    { products, vector, scalar, lds, loads },
    { products: 3, vector: 1, scalar: 2, lds: 1, loads: 2 },
  );
});

Deno.test("products of older generations are known", () => {
  const older = [
    "v_fma_f32 v1, v2, v3, v1           ; d1cb0001 04060702",
    "v_mac_f32_e32 v1, v2, v3           ; 2c020702",
    "v_fmac_f32_e32 v1, v2, v3          ; 76020702",
    "v_fmac_f32_dpp v1, v2, v3 quad_perm:[0,0,0,0] ; 760206fa",
    "v_fma_mix_f32 v1, v2, v3, v1       ; d3a00001 04060702",
    "v_mul_f32_e32 v1, v2, v3           ; 0a020702",
  ];
  assert.equal(parseStatistics(listing("s_nop 0", older)).products, 5);
});

for (
  const [wait, expected] of [
    ["s_waitcnt vmcnt(2)", 0], // both loads of this pass stay in flight
    ["s_waitcnt vmcnt(1)", 1],
    ["s_waitcnt vmcnt(0) & lgkmcnt(0)", 1],
    ["s_waitcnt lgkmcnt(0)", 0],
  ] as const
) {
  Deno.test(`\`${wait}\` after two loads exposes ${expected} of them`, () => {
    const before = listing(`${wait}    ; bf8903f7`, DUAL);
    assert.equal(parseStatistics(before).exposedWaits, expected);
    const after = listing("s_nop 0", [...DUAL, wait]);
    assert.equal(parseStatistics(after).exposedWaits, 0, "a wait behind the products is no matter");
  });
}

Deno.test("loads that are issued together are waited for once, others each", () => {
  const [load, wait] = ["buffer_load_b32 v1, v9, s[0:3], 0 offen", "s_waitcnt vmcnt(0)"];
  const waits = (...lines: string[]) =>
    parseStatistics(listing("s_nop 0", [...lines, ...DUAL])).exposedWaits;
  assert.equal(waits(load, load, "s_waitcnt vmcnt(1)", wait), 1);
  assert.equal(waits(load, wait, load, wait), 2);
});

Deno.test("what holds no statistics is refused", () => {
  assert.throws(() => parseStatistics("the device is lost"), /Cannot read "VGPRs".*lost/s);
});

Deno.test("sections lie between marks of any kind", () => {
  const output =
    "noise\n=== kernel a b\n1\n2\n=== end \n3\n=== step a\n4\n=== kernel c\n5\n=== end \n";
  assert.deepEqual([...sections(output, "kernel")], [["a b", "1\n2"], ["c", "5"]]);
  assert.throws(() => sections("\n=== step a\n\n=== step a\n", "step"), /marked twice/);
});

const RECORDED = tableOf(
  "things",
  new Map([["a", { size: 100, rate: 20, shown: 1 }], ["b", { size: 0, rate: 20, shown: 1 }]]),
);

Deno.test("a table is the same after it was written and read", () => {
  assert.deepEqual(fromTsv(toTsv(RECORDED)), RECORDED);
  assert.equal(toMarkdown(RECORDED).split("\n")[2], "| a      |  100 |   20 |     1 |");
});

Deno.test("what is worse by more than a tenth is told, and so are rows that come or go", () => {
  const bounds = { low: ["size"], high: ["rate"] };
  const now = (a: number, b: number, rate: number) =>
    tableOf(
      "things",
      new Map([["a", { size: a, rate, shown: 9 }], ["b", { size: b, rate, shown: 9 }]]),
    );
  assert.deepEqual(regressions(RECORDED, now(110, 0, 18), bounds), []);
  assert.deepEqual(regressions(RECORDED, now(111, 1, 17), bounds), [
    "a: size 100 → 111",
    "a: rate 20 → 17",
    "b: size 0 → 1",
    "b: rate 20 → 17",
  ]);
  const other = tableOf(
    "things",
    new Map([["b", { size: 0, rate: 20 }], ["c", { size: 0, rate: 0 }]]),
  );
  assert.deepEqual(regressions(RECORDED, other, bounds), [
    "a is in the table and no longer exists",
    "c is not in the table",
  ]);
});

// CI installs what this takes; where it is missing, that is no fault of the code.
const missing = whyNot();

function testOnRadeon(title: string, fn: () => Promise<void>): void {
  const ignore = missing !== null;
  Deno.test({ name: ignore ? `${title} (not here: ${missing})` : title, ignore, fn });
}

function checkAgainstRecorded(measurement: Measurement, table: Table): void {
  assert.ok(table.rows.size > 0);
  assert.deepEqual(
    measurement.problems(recordedTable(measurement), table),
    [],
    "where that is as it should be, `deno task gpu:static --record` writes the table anew",
  );
}

for (const family of FAMILIES) {
  const measurement = kernelsOf(family);
  testOnRadeon(
    `no kernel spills on ${family}, and none is worse by a tenth than recorded`,
    async () => {
      checkAgainstRecorded(measurement, await measurement.measure());
    },
  );
}

testOnRadeon(
  "a step takes no more commands than recorded, and those that are planned for it",
  async () => {
    const measured = await measureSteps(1);
    checkAgainstRecorded(DEFAULT_STEPS, measured);
    for (const name of STAGES) {
      const planned = plannedCommands(presetConfig("default"), CLASSES.default, name);
      const row = measured.rows.get(name) ?? [];
      const found = Object.keys(planned).map((column) => row[measured.columns.indexOf(column)]);
      assert.deepEqual(found, Object.values(planned), name);
    }
  },
);

Deno.test("a step of the published recipe takes no more commands than recorded", async () => {
  checkAgainstRecorded(FULL_STEPS, await FULL_STEPS.measure());
});

Deno.test("spills are always told, other figures from one compiler only", () => {
  const { problems } = kernelsOf("navi31");
  const table = (title: string, spills: number, code: number) =>
    tableOf(title, new Map([["a", { spills, code }]]));
  const recorded = table("old", 0, 100);
  assert.deepEqual(problems(recorded, table("old", 1, 200)), [
    "a spills 1 registers",
    "a: code 100 → 200",
  ]);
  assert.deepEqual(problems(recorded, table("new", 1, 200)), ["a spills 1 registers"]);
});
