// What the bundler leaves to do: the npm package's other files and its archive, and what JSR takes.

import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import project from "../deno.json" with { type: "json" };

const root = fileURLToPath(new URL("..", import.meta.url));
const { name, version, license, exports } = project;

await writeNpm("dist/package");
await writeJsr("dist/jsr");

async function writeNpm(folder: string): Promise<void> {
  const files = (source: string) => ({
    types: source.replace(/\.ts$/, ".d.ts"),
    default: source.replace(/\.ts$/, ".js"),
  });
  await writeJson(join(folder, "package.json"), {
    name,
    version,
    description:
      "GPU compute with hand-written WGSL kernels, an autograd tape, DeepLabv2, and the " +
      "training stages of ProDA, wherever WebGPU is",
    license,
    type: "module",
    sideEffects: false,
    exports: Object.fromEntries(
      Object.entries(exports).map(([path, source]) => [path, files(source)]),
    ),
    engines: { node: ">=20.16" },
    // For the types of TypeScript before version 6, which has them.
    peerDependencies: { "@webgpu/types": "*" },
    peerDependenciesMeta: { "@webgpu/types": { optional: true } },
  });
  await copyDocuments(folder);
  const archive = `${name.replace("@", "").replace("/", "-")}-${version}.tgz`;
  await run("tar", ["-czf", archive, basename(folder)], dirname(folder));
}

/** The sources themselves, but for shaders, and nothing that they do not reach. */
async function writeJsr(folder: string): Promise<void> {
  await Deno.remove(join(root, folder), { recursive: true }).catch(() => {});
  for (const source of await reachedFiles()) {
    const text = await Deno.readTextFile(join(root, source));
    if (source.endsWith(".wgsl")) {
      const module = `export default ${JSON.stringify(text)} as string;\n`;
      await writeText(join(folder, `${source}.ts`), module);
    } else {
      const imports = /from "([^"]+\.wgsl)" with \{ type: "text" \}/g;
      await writeText(join(folder, source), text.replaceAll(imports, 'from "$1.ts"'));
    }
  }
  await writeJson(join(folder, "deno.json"), { name, version, license, exports });
  await copyDocuments(folder);
}

/** The files that the exports reach, types included. */
async function reachedFiles(): Promise<Set<string>> {
  const files = new Set<string>();
  for (const path of Object.values(exports)) {
    const graph: { modules: { specifier: string }[] } = JSON.parse(
      await run("deno", ["info", "--json", path]),
    );
    for (const { specifier } of graph.modules) {
      if (!specifier.startsWith("file:")) continue;
      files.add(fileURLToPath(specifier).slice(root.length).replaceAll("\\", "/"));
    }
  }
  return files;
}

async function copyDocuments(folder: string): Promise<void> {
  for (const file of ["README.md", "LICENSE", "CHANGELOG.md"]) {
    await Deno.copyFile(join(root, file), join(root, folder, file));
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeText(path, JSON.stringify(value, null, 2) + "\n");
}

async function writeText(path: string, text: string): Promise<void> {
  await Deno.mkdir(dirname(join(root, path)), { recursive: true });
  await Deno.writeTextFile(join(root, path), text);
}

/** What a command prints. */
async function run(command: string, args: string[], folder = "."): Promise<string> {
  const { success, stdout } = await new Deno.Command(command, {
    args,
    cwd: join(root, folder),
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot run ${command} ${args.join(" ")}`);
  return new TextDecoder().decode(stdout);
}
