// The packed library where others use it: in Deno without a permission, in Node, in what a bundler makes of
// it, and in a browser. Each computes what the sources compute here; run by `deno task test:package`.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import project from "../../deno.json" with { type: "json" };

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** The driver in Chromium, or in Chrome. */
const SWIFTSHADER = ["/usr/lib/chromium", "/opt/google/chrome"]
  .map((folder) => `${folder}/vk_swiftshader_icd.json`).join(":");
const ARCHIVE = join(ROOT, "dist", `proda-webgpu-${project.version}.tgz`);

/** What tests/browser/program.js gives, and the README's example. */
interface Outcome {
  readonly adapter: string;
  readonly sourceLosses: Readonly<Record<string, number>>;
  readonly losses: Readonly<Record<string, number>>;
  readonly prediction: readonly number[];
  readonly bytesLeft: number;
  readonly example: readonly number[];
}

/** Prints the outcome as the last line. */
const MAIN = `
import { example } from "./example.js";
import { run } from "./program.js";
const printed = [];
await example((value) => printed.push(value));
console.log(JSON.stringify({ ...await run(), example: printed }));
`;

/** The same in a page. */
const PAGE_MAIN = MAIN.replace(
  "await example",
  "globalThis.outcome = (async () => {\nawait example",
)
  .replace("console.log(JSON.stringify(", "return ").replace(
    "}));",
    "};\n})();",
  );

/** The README's example as a function that hands over what it prints. */
function exampleOf(readme: string): string {
  const [, head, body] = /```ts\n(import [^\n]*"@proda\/webgpu";\n)([^`]*)```/.exec(readme) ??
    assert.fail("the README has no example");
  return `${head}export async function example(print) {\n${
    body.replace("console.log", "print")
  }}\n`;
}

async function output(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: Record<string, string> },
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    ...options,
  }).output();
  const [printed, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.equal(code, 0, `${command}: ${errors}${printed}`);
  return printed;
}

function outcomeIn(text: string): Outcome {
  return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
}

/** An empty project with the packed library, as package managers install it, and a program. */
async function withProject<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    const library = join(folder, "node_modules", "@proda", "webgpu");
    await Deno.mkdir(library, { recursive: true });
    await output("tar", [
      "-xzf",
      ARCHIVE,
      "--strip-components=1",
      "-C",
      library,
    ], { cwd: folder });
    await Deno.copyFile(join(HERE, "program.js"), join(folder, "program.js"));
    const readme = await Deno.readTextFile(join(library, "README.md"));
    await Deno.writeTextFile(join(folder, "example.js"), exampleOf(readme));
    const dependencies = { "@proda/webgpu": project.version };
    const description = { type: "module", private: true, dependencies };
    await Deno.writeTextFile(
      join(folder, "package.json"),
      JSON.stringify(description),
    );
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What the sources compute in Deno on an adapter. */
function ofSources(env: Record<string, string> = {}): Promise<Outcome> {
  return withProject(async (folder) => {
    const imports = Object.entries(project.exports).map(([path, source]) => [
      path.replace(".", project.name),
      new URL(source, new URL("../../", import.meta.url)).href,
    ]);
    const map = {
      imports: Object.fromEntries(imports),
      nodeModulesDir: "none",
    };
    await Deno.remove(join(folder, "package.json"));
    await Deno.writeTextFile(join(folder, "deno.json"), JSON.stringify(map));
    await Deno.writeTextFile(join(folder, "main.js"), MAIN);
    return outcomeIn(
      await output("deno", ["run", "--no-prompt", "main.js"], {
        cwd: folder,
        env,
      }),
    );
  });
}

function assertSound(
  { example, losses, sourceLosses, bytesLeft }: Outcome,
): void {
  assert.ok(
    example.length === 10 && example[9] < example[0] / 2,
    `example: ${example}`,
  );
  const values = Object.values({ ...losses, ...sourceLosses });
  assert.ok(
    values.length >= 4 && values.every((value) => value > 0),
    `losses: ${values}`,
  );
  assert.equal(bytesLeft, 0, "bytes are left on the GPU");
}

function assertSameBits(found: Outcome, expected: Outcome): void {
  const { adapter: _, ...rest } = found;
  assert.deepEqual({ adapter: expected.adapter, ...rest }, expected);
}

/** Equal up to a thousandth of the numbers; a pixel in a hundred may be of another class. */
function assertClose(found: Outcome, expected: Outcome): void {
  const numbers = (
    { example, losses, sourceLosses }: Outcome,
  ) => [...example, ...Object.values(losses), ...Object.values(sourceLosses)];
  const wanted = numbers(expected);
  numbers(found).forEach((value, at) => {
    const difference = Math.abs(value - wanted[at]);
    assert.ok(
      difference <= 1e-3 * Math.abs(wanted[at]),
      `${value} is not ${wanted[at]}`,
    );
  });
  const other = found.prediction.filter((label, at) => label !== expected.prediction[at])
    .length;
  assert.ok(
    other <= found.prediction.length / 100,
    `${other} pixels are of another class`,
  );
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => made ??= make();
}

/** The sources on the driver of this machine, and on that which comes with Chromium. */
const here = once(() => ofSources());
const onSwiftShader = once(() => ofSources({ VK_DRIVER_FILES: SWIFTSHADER }));

Deno.test("the sources compute the same on two drivers, within a thousandth", async () => {
  assertSound(await here());
  assert.match((await onSwiftShader()).adapter, /SwiftShader/);
  assertClose(await onSwiftShader(), await here());
});

Deno.test("Deno runs the package without any permission", () =>
  withProject(async (folder) => {
    await Deno.writeTextFile(join(folder, "main.js"), MAIN);
    const args = ["run", "--no-prompt", "--node-modules-dir=manual", "main.js"];
    assertSameBits(
      outcomeIn(await output("deno", args, { cwd: folder })),
      await here(),
    );
  }));

Deno.test("Node runs the package on Dawn", () =>
  withProject(async (folder) => {
    const webgpu = new URL("node_modules/webgpu/index.js", import.meta.url).href;
    await Deno.writeTextFile(
      join(folder, "main.js"),
      `import { create, globals } from ${JSON.stringify(webgpu)};
       Object.assign(globalThis, globals);
       const gpu = create([]);
       Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
       await import("./program_main.js");
       process.exit();`, // Dawn's instance would keep the process
    );
    await Deno.writeTextFile(join(folder, "program_main.js"), MAIN);
    const found = outcomeIn(await output("node", ["main.js"], { cwd: folder }));
    assertSameBits(found, await here());
  }));

function openPage(folder: string): Promise<Outcome> {
  return output("node", [join(HERE, "open.mjs"), folder], { cwd: folder }).then(
    outcomeIn,
  );
}

function page(head: string): string {
  const start = '<!doctype html><title>proda</title><link rel="icon" href="data:,">';
  return `${start}${head}<script type="module" src="./main.js"></script>`;
}

Deno.test("a browser runs the package as it is, by an import map", () =>
  withProject(async (folder) => {
    const imports = Object.fromEntries(
      Object.entries(project.exports).map(([path, source]) => [
        path.replace(".", project.name),
        `./node_modules/${project.name}/${source.replace(/^\.\/|\.ts$/g, "")}.js`,
      ]),
    );
    const map = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
    await Deno.writeTextFile(join(folder, "index.html"), page(map));
    await Deno.writeTextFile(join(folder, "main.js"), PAGE_MAIN);
    const found = await openPage(folder);
    assertSameBits(found, await onSwiftShader());
    assertClose(found, await here());
  }));

Deno.test("a browser runs what Vite makes of the package", () =>
  withProject(async (folder) => {
    await Deno.writeTextFile(join(folder, "index.html"), page(""));
    await Deno.writeTextFile(join(folder, "main.js"), PAGE_MAIN);
    const vite = join(HERE, "node_modules", "vite", "bin", "vite.js");
    await output("node", [vite, "build", "--logLevel", "error"], {
      cwd: folder,
    });
    assertSameBits(await openPage(join(folder, "dist")), await onSwiftShader());
  }));

Deno.test("a bundle holds what is used of the package, and no more", () =>
  withProject(async (folder) => {
    await Deno.writeTextFile(join(folder, "index.html"), page(""));
    await Deno.writeTextFile(
      join(folder, "main.js"),
      `import { openGpu } from "@proda/webgpu";
       import { scaleForward } from "@proda/webgpu/kernels";
       globalThis.outcome = openGpu().then((gpu) =>
         scaleForward(gpu.upload(new Float32Array([1, 2]), [2], "x"), 2).read());`,
    );
    const vite = join(HERE, "node_modules", "vite", "bin", "vite.js");
    await output("node", [vite, "build", "--logLevel", "error"], {
      cwd: folder,
    });
    const assets = join(folder, "dist", "assets");
    let code = "";
    for await (const { name } of Deno.readDir(assets)) {
      code += await Deno.readTextFile(join(assets, name));
    }
    assert.ok(code.includes("elementwise"), "the kernel is there");
    assert.ok(
      !code.includes("winograd"),
      "kernels that are not used are left out",
    );
    assert.ok(
      !/node:(v8|vm|zlib)["'] *\)? *;?\s*$|from *["']node:/m.test(code),
      "no module of Node is imported",
    );
    assert.ok(code.length < 40_000, `${code.length} characters`);
  }));

Deno.test("TypeScript takes the package's types, in both ways of resolving modules", () =>
  withProject(async (folder) => {
    await Deno.writeTextFile(
      join(folder, "main.ts"),
      `import { DeepLab, type Gpu, openGpu } from "@proda/webgpu";
       import { matmul } from "@proda/webgpu/kernels";
       import type { Denoise } from "@proda/webgpu/train";
       const gpu: Gpu = await openGpu();
       const network = new DeepLab(gpu, { blocks: [1, 1, 1, 1], width: 4, classes: 2 });
       export const stages: Denoise[] = [];
       export const product = matmul(gpu.zeros([2, 2], "a"), gpu.zeros([2, 2], "b"));
       // @ts-expect-error a network is no number
       export const wrong: number = network;
`,
    );
    const tsc = join(
      ROOT,
      "package",
      "node_modules",
      "typescript",
      "bin",
      "tsc",
    );
    for (const kind of ["bundler", "nodenext"]) {
      const module = kind === "bundler" ? "esnext" : kind;
      await output("node", [
        ...[
          tsc,
          "--noEmit",
          "--strict",
          "--target",
          "esnext",
          "--module",
          module,
        ],
        ...[
          "--moduleResolution",
          kind,
          "--lib",
          "esnext,dom,dom.iterable",
          "main.ts",
        ],
      ], { cwd: folder });
    }
  }));

/** What `@proda/webgpu/mpi` is made of, which nothing else may reach. */
const OF_DENO = /[/\\]parallel[/\\](mpi|mpi_library|library)\.js$/;

Deno.test("the package reaches neither Node nor Deno by an import, and only what is public", async () => {
  await withProject(async (folder) => {
    const library = join(folder, "node_modules", "@proda", "webgpu");
    const walk = async function* (path: string): AsyncGenerator<string> {
      for await (const { name, isDirectory } of Deno.readDir(path)) {
        if (isDirectory) yield* walk(join(path, name));
        else yield join(path, name);
      }
    };
    for await (const path of walk(library)) {
      assert.doesNotMatch(path, /_test|golden|bench|\.ts$(?<!\.d\.ts)/);
      if (!path.endsWith(".js")) continue;
      const code = await Deno.readTextFile(path);
      assert.doesNotMatch(code, /^import .*["'](node|npm|jsr|https?):/m, path);
      if (OF_DENO.test(path)) continue;
      assert.doesNotMatch(code, /\bDeno\.(?!build\.os)/, path);
      assert.doesNotMatch(code, /["']\S*\/(mpi|mpi_library|library)\.js["']/, path);
    }
    await Deno.writeTextFile(
      join(folder, "main.js"),
      'import "@proda/webgpu/nn/tape.js";',
    );
    const { code } = await new Deno.Command("node", {
      args: ["main.js"],
      cwd: folder,
    }).output();
    assert.notEqual(code, 0, "what is not public can be imported");
  });
});

Deno.test("JSR would take the package", async () => {
  const cwd = join(ROOT, "dist", "jsr");
  const listed = await new Deno.Command("deno", {
    args: ["publish", "--dry-run", "--allow-dirty"],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(listed.stderr) +
    new TextDecoder().decode(listed.stdout);
  assert.equal(listed.code, 0, text);
  const files = [...text.matchAll(/file:\S+\/dist\/jsr\/(\S+)/g)].map((
    [, path],
  ) => path);
  assert.ok(
    files.includes("mod.ts") && files.includes("kernels/argmax.wgsl.ts"),
    text,
  );
  for (const file of files) {
    assert.doesNotMatch(file, /^(tests|bench|cli|networks|docs)\//);
  }
});
