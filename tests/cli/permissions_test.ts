// Every command with the least permissions that work, as ./run gives them, and without each of them.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { permissionsOf, writtenBy } from "../../cli/permissions.ts";
import { createProgram } from "../../cli/program.ts";
import golden from "../goldens/jpeg.json" with { type: "json" };
import { namesIn } from "../train/_folder.ts";
import { write as writeFile } from "../train/_png.ts";
import type { Outcome } from "./_program.ts";

const CODE = fileURLToPath(new URL("../../", import.meta.url));
const ROOT = Deno.makeTempDirSync({ prefix: "proda größe " });
addEventListener("unload", () => Deno.removeSync(ROOT, { recursive: true }));

const at = (...names: string[]) => join(ROOT, ...names);
const file = (path: string) => [path, `${path}.partial`];

const CONFIG = {
  network: { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
  data: {
    ...{ batch: 2, cropHeight: 32, cropWidth: 64, longSide: 96 },
    heldOut: { share: 0 }, // a step learns nothing
    streets: {
      ...{ directory: at("data", "streets"), width: 96, height: 48 },
      ...{ sourceTrain: 4, targetTrain: 4, targetVal: 2, sourceVal: 1, targetChoose: 1 },
    },
  },
};
const [SOURCE, TARGET] = [at("data", "streets", "source"), at("data", "streets", "target")];
const [RUN, CHECKPOINT] = [at("run"), at("run", "checkpoints", "source.safetensors")];
const TUNED = file(at("autotune.json"));
const TRAIN = ["--config", at("tiny.json"), "--steps", "1"];

/** A command line and all that it needs. */
interface Case {
  readonly args: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
  /**
   * Where ./run lets it write beside that: where streets would be drawn if it were not there, and what
   * was tuned would be kept if the adapter were a GPU.
   */
  readonly unused?: readonly string[];
  /** Done before it. */
  readonly prepare?: () => void;
  /** What it needs last, after much work: not taken away, as other commands write files alike. */
  readonly late?: readonly string[];
  /** It is stopped where it has printed this: it takes too long, and has done all by then. */
  readonly until?: string;
}

/** In this order, as each reads what those before have made. */
const CASES: readonly Case[] = [
  {
    args: ["train", ...TRAIN, "--stages", "source,warmup", "--out", RUN],
    read: [CODE, at("tiny.json"), at("data"), RUN],
    write: [at("data"), RUN],
    unused: TUNED,
  },
  {
    args: ["train", "--resume", RUN],
    read: [CODE, at("data"), RUN],
    write: [RUN],
    unused: [at("data"), ...TUNED],
    prepare: () => Deno.removeSync(at("run", "checkpoints", "warmup.safetensors")),
  },
  {
    args: [
      ...["train", ...TRAIN, "--stages", "source,stage1", "--out", at("own")],
      ...["--source", SOURCE, "--target", TARGET, "--classes", "16", "--tensorboard"],
    ],
    read: [CODE, at("tiny.json"), SOURCE, TARGET, at("own")],
    write: [at("own")],
    unused: TUNED,
  },
  {
    args: ["train", ...TRAIN, "--from", "warmup", "--base", RUN, "--until", "warmup", "--dry-run"],
    read: [at("tiny.json"), RUN],
    write: [],
  },
  {
    args: ["ablate", ...TRAIN, "--grid", "decay", "--seeds", "0", "--out", at("ablation")],
    read: [CODE, at("tiny.json"), at("data"), at("ablation")],
    write: [at("ablation")],
    unused: [at("data")],
    until: "stage1:",
  },
  {
    args: ["eval", "--checkpoint", CHECKPOINT],
    read: [CODE, CHECKPOINT, at("data")],
    write: [],
    unused: ["data"],
  },
  {
    args: [
      ...["predict", "--checkpoint", CHECKPOINT, "--input", at("photographs")],
      ...["--output", at("predicted")],
    ],
    read: [CODE, CHECKPOINT, at("photographs"), at("predicted")],
    write: [at("predicted")],
    prepare: () => {
      const bytes = Uint8Array.from(atob(golden.files.progressive.file), (c) => c.charCodeAt(0));
      writeFile(at("photographs", "one.jpg"), bytes);
    },
  },
  {
    args: ["report", RUN, "--out", at("out", "report.html")],
    read: [CODE, RUN, at("data"), at("out")],
    write: file(at("out", "report.html")),
    late: [at("out"), ...file(at("out", "report.html"))],
    unused: [at("data")],
  },
  {
    args: ["shrink", RUN, "--out", at("packed"), "--stages", "source"],
    read: [CODE, RUN, at("data"), at("packed")],
    write: [at("packed")],
    late: [at("packed")],
    unused: [at("data")],
  },
  {
    args: ["convert", CHECKPOINT, at("out", "network.safetensors"), "--only", "network"],
    read: [CHECKPOINT, at("out")],
    write: file(at("out", "network.safetensors")),
  },
  {
    args: ["convert", "--list", CHECKPOINT],
    read: [CHECKPOINT],
    write: [],
  },
  {
    args: ["export", "--checkpoint", CHECKPOINT, "--onnx", at("out", "network.onnx")],
    read: [CHECKPOINT, at("out")],
    write: file(at("out", "network.onnx")),
  },
  {
    args: ["inspect", "--data", TARGET, "--layout", "cityscapes", "--sheet", at("out", "1.png")],
    read: [CODE, TARGET, at("out")],
    write: file(at("out", "1.png")),
  },
  {
    args: [
      ...["generate", "--out", at("more", "streets"), "--width", "64", "--height", "32"],
      ...["--source-images", "2", "--target-images", "2", "--val-images", "1"],
    ],
    read: [at("more")],
    write: [at("more")],
  },
];

async function runWith({ args, read, write, until }: Omit<Case, "prepare">): Promise<Outcome> {
  const list = (kind: string, paths: readonly string[]) =>
    paths.length === 0 ? [] : [`--allow-${kind}=${paths.join()}`];
  const child = new Deno.Command("deno", {
    args: [
      ...["run", "--no-prompt", ...list("read", read), ...list("write", write)],
      ...[join(CODE, "cli", "main.ts"), ...args],
    ],
    env: { NO_COLOR: "1" },
    ...{ stdout: "piped", stderr: "piped" },
  }).spawn();
  let stdout = "";
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      stdout += text;
      if (until !== undefined && stdout.includes(until)) child.kill("SIGINT");
    }
  })();
  const [stderr, { code }] = await Promise.all([
    new Response(child.stderr).text(),
    child.status,
    reading,
  ]);
  return { code, stdout, stderr };
}

Deno.test.beforeAll(() => {
  Deno.writeTextFileSync(at("tiny.json"), JSON.stringify(CONFIG));
  Deno.mkdirSync(at("out"));
});

for (const { prepare, unused = [], late = [], ...least } of CASES) {
  const { args, write, until } = least;
  const name = args.filter((arg) => !arg.includes(ROOT)).join(" ");
  Deno.test(`${name} needs its least permissions, all of them, and no others`, async () => {
    prepare?.();
    for (const kind of ["write", "read"] as const) {
      for (const path of least[kind].filter((path) => !late.includes(path))) {
        const { code, stderr } = await runWith({
          ...least,
          [kind]: least[kind].filter((other) => other !== path),
        });
        const sentence = stderr.trimEnd().split("\n").at(-1) as string;
        const where = `without ${kind} access to ${path}: ${stderr}`;
        assert.match(sentence, /^Cannot /, where);
        assert.ok(sentence.includes(path.replace(/\.partial$/, "")), where);
        assert.ok(
          sentence.includes(`Requires ${kind} access to`) ||
            sentence.includes(`to ${kind} ${path}`),
          where,
        );
        assert.equal(code, 2, where);
        assert.doesNotMatch(stderr, /\n {4}at |Uncaught/, "neither a stack nor a thread's end");
      }
    }
    const { code, stderr } = await runWith(least);
    assert.equal(code, until === undefined ? 0 : 130, stderr);
    const written = [...write, ...unused];
    assert.deepEqual((await writtenBy(args))?.sort(), written.sort());
    assert.ok(!namesIn(at("out")).some((name) => name.endsWith(".partial")));
  });
}

Deno.test("every command is among them, but for doctor", () => {
  const tried = new Set(CASES.map(({ args }) => args[0]));
  const names = createProgram(() => {}).commands.map((command) => command.name());
  assert.deepEqual([...tried, "doctor"].sort(), names.sort());
});

Deno.test("doctor without the permission for its variable says so in a sentence", async () => {
  const { code, stdout, stderr } = await runWith({ args: ["doctor"], read: [], write: [] });
  assert.equal(
    stderr,
    "Cannot run doctor as Deno was started without the permission (Requires env access to " +
      '"DENO_WEBGPU_BACKEND", run again with the --allow-env flag)\n',
  );
  assert.deepEqual([code, stdout], [2, ""]);
});

Deno.test("where a command writes is not told where it would refuse its arguments", async () => {
  assert.deepEqual(await writtenBy(["train"]), ["runs", "data", ...file("runs/autotune.json")]);
  const own = ["train", "--source", "game", "--target", "camera"];
  assert.deepEqual(await writtenBy(own), ["runs", ...file("runs/autotune.json")]);
  assert.deepEqual(await writtenBy([...own, "--time", "1h", "--out", "mine"]), [
    "mine",
    ...file("autotune.json"),
  ]);
  const out = ["--out", "/x/y"];
  for (
    const [flags, written] of [
      [[], file("/x/autotune.json")],
      [["--autotune"], file("/x/autotune.json")],
      [["--autotune", "/z/mine.json"], file("/z/mine.json")],
      [["--no-autotune"], []],
    ]
  ) {
    assert.deepEqual(await writtenBy(["train", ...out, ...flags]), ["/x/y", "data", ...written]);
  }
  for (
    const args of [
      ["train", "--bogus"],
      ["train", "--help"],
      ["predict"],
      ["check"],
      ["doctor"],
      [],
    ]
  ) {
    assert.equal(await writtenBy(args), null, args.join(" "));
  }
});

Deno.test("one of several processes may load its library and read what launchers set, no other", async () => {
  const train = ["train", "--out", "/x/y", "--no-autotune"];
  const alone = ["--allow-write=/x/y,data"];
  assert.deepEqual(await permissionsOf(train), alone);
  const library = "/opt/mpi/lib/libmpi.so.40";
  assert.deepEqual(await permissionsOf([...train, "--mpi", library]), [
    ...alone,
    `--allow-ffi=${library}`,
    "--allow-env=DENO_WEBGPU_BACKEND,DRI_PRIME,LP_NUM_THREADS,MESA_VK_DEVICE_SELECT,MPI_LIB," +
    "OMPI_COMM_WORLD_SIZE,PMI_SIZE,PRODA_GPUS,SLURM_STEP_NUM_TASKS",
    "--allow-sys=hostname",
  ]);
  const [, , doctor] = await permissionsOf(["doctor", "--mpi", library]) ?? [];
  assert.equal(doctor, "--allow-sys=hostname");
  const unfound = await permissionsOf([...train, "--mpi", "libnone.so"]);
  assert.ok(!unfound?.some((flag) => flag.includes("ffi")), "which the command will say");
  assert.equal(await permissionsOf(["doctor"]), null, "runs as its task");
  assert.equal(await permissionsOf([...train, "--out", "a,b"]), null);
  const wrong = await permissionsOf(["train", "--mpi", library, "--source", "alone"]) ?? [];
  assert.deepEqual(wrong.map((flag) => flag.split("=")[0]), [
    ...["--allow-ffi", "--allow-env", "--allow-sys"], // enough for the error
  ]);
  for (const command of ["ablate", "eval", "predict", "report", "inspect", "generate"]) {
    assert.equal(await permissionsOf([command, "--mpi"]), null, `${command} has no such flag`);
  }
});
