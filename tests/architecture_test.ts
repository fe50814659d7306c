// The house rules that no compiler checks: which way imports point, who sees the command line, and
// what the library drags in.

import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path/posix";

const ROOT = new URL("../", import.meta.url);
/** Arrows point from left to right; a room may import itself and every room to its right. */
const ROOMS = ["cli", "train", "nn", "kernels", "kernels/runtime"] as const;
const FOLDERS = ["cli", "train", "nn", "kernels"];

interface Import {
  /** Path in the repository, or the specifier of a package. */
  readonly target: string;
  readonly isPackage: boolean;
}

/** Comments and the contents of examples are no code. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

function* filesIn(folder: string, ending: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* filesIn(path, ending);
    else if (name.endsWith(ending)) yield path;
  }
}

function importsOf(path: string): Import[] {
  const source = withoutComments(read(path));
  const patterns = [
    /\bfrom\s*"([^"]+)"/g,
    /\bimport\s*"([^"]+)"/g,
    /\bimport\s*\(\s*"([^"]+)"/g,
    /\bnew URL\(\s*"(\.[^"]+\.ts)"/g, // workers
  ];
  return patterns.flatMap((pattern) => [...source.matchAll(pattern)]).map(([, specifier]) => {
    const isPackage = !specifier.startsWith(".");
    return {
      target: isPackage ? specifier : normalize(join(dirname(path), specifier)),
      isPackage,
    };
  });
}

function roomOf(path: string): number {
  if (path.startsWith("kernels/runtime/")) return ROOMS.indexOf("kernels/runtime");
  return ROOMS.findIndex((room) => path.startsWith(`${room}/`));
}

const files = FOLDERS.flatMap((folder) => [...filesIn(folder, ".ts")]);

Deno.test("there are files in every room to check", () => {
  for (const room of ROOMS) {
    const index = ROOMS.indexOf(room);
    assert.ok(files.some((path) => roomOf(path) === index), `no file in ${room}/ was found`);
  }
});

Deno.test("imports point from cli to train to nn to kernels to kernels/runtime", () => {
  const wrong = files.flatMap((path) =>
    importsOf(path)
      .filter(({ isPackage, target }) => !isPackage && !(roomOf(target) >= roomOf(path)))
      .map(({ target }) => `${path} imports ${target}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("every WGSL file has a launcher of the same name that imports it, and no other does", () => {
  const wrong = [];
  for (const path of FOLDERS.flatMap((folder) => [...filesIn(folder, ".wgsl")])) {
    const twin = path.replace(/\.wgsl$/, ".ts");
    const importers = files.filter((file) => importsOf(file).some(({ target }) => target === path));
    if (!(importers.length === 1 && importers[0] === twin)) {
      wrong.push(
        `${path} is imported by ${importers.join(", ") || "nothing"}, not by ${twin} alone`,
      );
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("a WGSL file is plain WGSL: no directives and no template markers", () => {
  const wrong = FOLDERS.flatMap((folder) => [...filesIn(folder, ".wgsl")]).filter((path) =>
    /^\s*(#|enable\b|requires\b|diagnostic\b)|\{\{|\$\{/m.test(withoutComments(read(path)))
  );
  assert.deepEqual(wrong, []);
});

Deno.test("kernels never see a tensor", () => {
  const wrong = files.filter((path) => path.startsWith("kernels/"))
    .filter((path) => /\bTensor\b/.test(withoutComments(read(path))));
  assert.deepEqual(wrong, []);
});

Deno.test("only cli/ reads arguments, prints and exits", () => {
  const forbidden = /\bDeno\s*\.\s*(args|exit|exitCode|addSignalListener)\b|\bconsole\s*\./;
  const wrong = [...files, "mod.ts"].filter((path) => !path.startsWith("cli/"))
    .filter((path) => forbidden.test(withoutComments(read(path))));
  assert.deepEqual(wrong, []);
});

Deno.test("mod.ts reaches no package and nothing of cli/", () => {
  const seen = new Set<string>();
  const wrong: string[] = [];
  const visit = (path: string, chain: string[]) => {
    if (seen.has(path) || path.endsWith(".wgsl")) return;
    seen.add(path);
    if (path.startsWith("cli/")) wrong.push(chain.join(" → "));
    for (const { target, isPackage } of importsOf(path)) {
      if (!isPackage) visit(target, [...chain, target]);
      else if (!target.startsWith("node:")) wrong.push([...chain, target].join(" → "));
    }
  };
  visit("mod.ts", ["mod.ts"]);
  assert.deepEqual(wrong, []);
  assert.ok(seen.size > 20, `only ${seen.size} files were reached: are the patterns still right?`);
});

Deno.test("mod.ts only re-exports", () => {
  const rest = withoutComments(read("mod.ts")).replace(
    /export\s+(type\s+)?(\*(\s+as\s+\w+)?|\{[^}]*\})\s*from\s*"[^"]+";/g,
    "",
  );
  assert.equal(rest.trim(), "");
});

Deno.test("nothing imports tests/ or bench/", () => {
  const wrong = files.filter((path) =>
    importsOf(path).some(({ target }) => /^(tests|bench)\//.test(target))
  );
  assert.deepEqual(wrong, []);
});

Deno.test("every version in deno.json is pinned", () => {
  const { imports } = JSON.parse(read("deno.json")) as { imports: Record<string, string> };
  for (const [name, specifier] of Object.entries(imports)) {
    if (name === "@proda/webgpu") continue; // the project itself
    assert.match(specifier, /^npm:(@[^/]+\/)?[^@/]+@\d+\.\d+\.\d+$/, name);
  }
});
