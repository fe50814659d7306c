// The house rules that no compiler checks: which way imports point, who knows the stages, who sees the
// command line, and what the library drags in.

import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path/posix";

const ROOT = new URL("../", import.meta.url);
/** Arrows point from left to right; a room may import itself and every room to its right. */
const ROOMS = ["cli", "train", "nn", "kernels", "kernels/runtime"] as const;
/** The same for the rooms within `train/`, what is made from runs and data first. */
const TRAIN_ROOMS = [
  "ablation",
  "report",
  "plan",
  "inspect",
  "run",
  "networks",
  "config",
  "stages",
  "streets",
  "evaluation",
  "data",
  "views",
  "images",
  "parallel",
  "base",
].map((room) => `train/${room}`);
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
    if (name === "node_modules") continue;
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

/** The last room that a path lies in, as rooms may lie within others; -1 for none. */
function roomOf(path: string, rooms: readonly string[]): number {
  return rooms.findLastIndex((room) => path.startsWith(`${room}/`));
}

const files = FOLDERS.flatMap((folder) => [...filesIn(folder, ".ts")]);
/** The files that each file imports. */
const imports = new Map(files.map((path) => {
  const targets = importsOf(path).filter(({ isPackage }) => !isPackage);
  return [path, [...new Set(targets.map(({ target }) => target))]] as const;
}));

/** Imports that point to a room further left, each with the rule that it breaks. */
function upwardImports(rooms: readonly string[], order: string): string[] {
  return files.flatMap((path) => {
    const room = roomOf(path, rooms);
    return (imports.get(path) ?? []).flatMap((target) => {
      const to = roomOf(target, rooms);
      if (room < 0 || to < 0 || to >= room) return [];
      return `${path} imports ${target}, but ${rooms[to]} comes before ${rooms[room]} in ${order}`;
    });
  });
}

/** Circles of files, as chains of imports; each is found once. */
function circles(): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, chain: string[]) => {
    const start = chain.indexOf(path);
    if (start >= 0) {
      found.push(`${[...chain.slice(start), path].join(" imports ")}: files may not form a circle`);
    }
    if (start >= 0 || done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...chain, path]);
    done.add(path);
  };
  for (const path of files) visit(path, []);
  return found;
}

Deno.test("there are files in every room to check", () => {
  for (const room of [...ROOMS, ...TRAIN_ROOMS]) {
    assert.ok(files.some((path) => path.startsWith(`${room}/`)), `no file in ${room}/ was found`);
  }
});

Deno.test("imports point from cli to train to nn to kernels to kernels/runtime", () => {
  assert.deepEqual(upwardImports(ROOMS, ROOMS.join(" → ")), []);
});

Deno.test("imports within train point from what is made of runs down to the base", () => {
  const order = TRAIN_ROOMS.map((room) => room.replace("train/", "")).join(" → ");
  assert.deepEqual(upwardImports(TRAIN_ROOMS, order), []);
});

Deno.test("every file of train but its door lies in a room", () => {
  const outside = files.filter((path) =>
    path.startsWith("train/") && roomOf(path, TRAIN_ROOMS) < 0
  );
  assert.deepEqual(outside, ["train/mod.ts"]);
});

Deno.test("no files import each other in a circle", () => {
  assert.deepEqual(circles(), []);
});

Deno.test("a stage's folder is known to the registry, the presets and the library's door only", () => {
  const knowing = new Set(["train/stages/kinds.ts", "train/config/presets.ts", "train/mod.ts"]);
  const wrong = files.flatMap((path) =>
    (imports.get(path) ?? []).filter((target) => {
      const folder = /^train\/stages\/(?!common\/)[^/]+\//.exec(target)?.[0];
      return folder !== undefined && !path.startsWith(folder) && !knowing.has(path);
    }).map((target) => `${path} imports ${target}: only the registry knows stages`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("no code tells stages apart by their names outside their folders", () => {
  const names = /["'`](warmup|stage1|selfsup|stage2|stage3|oracle)["'`]/;
  const comparison = new RegExp(
    `(===|!==|case|includes\\()\\s*${names.source}|${names.source}\\s*(===|!==)`,
  );
  const wrong = files.filter((path) => /^(cli|train)\//.test(path))
    .filter((path) => !path.startsWith("train/stages/"))
    .flatMap((path) =>
      withoutComments(read(path)).split("\n").filter((line) => comparison.test(line))
        .map((line) => `${path}: ${line.trim()}`)
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

Deno.test("no kernel compares a number with itself, which compilers fold to equal", () => {
  const folded = /([\w.[\]]+) [!=]= \1(?![\w.[(])|\bis(nan|inf)\b/i;
  const wrong = [...filesIn("kernels", ".wgsl")]
    .filter((path) => folded.test(withoutComments(read(path))));
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

/** Where types of Node's modules may be imported, as it asks for them only where they are. */
const BUILTIN = "kernels/runtime/builtin.ts";

Deno.test("mod.ts reaches no package, no module of Node and nothing of cli/", () => {
  const seen = new Set<string>();
  const wrong: string[] = [];
  const visit = (path: string, chain: string[]) => {
    if (seen.has(path) || path.endsWith(".wgsl")) return;
    seen.add(path);
    if (path.startsWith("cli/")) wrong.push(chain.join(" → "));
    for (const { target, isPackage } of importsOf(path)) {
      if (!isPackage) visit(target, [...chain, target]);
      else if (path !== BUILTIN) wrong.push([...chain, target].join(" → "));
    }
  };
  visit("mod.ts", ["mod.ts"]);
  const ofNode = withoutComments(read(BUILTIN)).match(/^import(?! type)/gm) ?? [];
  assert.deepEqual([...wrong, ...ofNode], []);
  assert.ok(seen.size > 20, `only ${seen.size} files were reached: are the patterns still right?`);
});

Deno.test("mod.ts only re-exports", () => {
  const rest = withoutComments(read("mod.ts")).replace(
    /export\s+(type\s+)?(\*(\s+as\s+\w+)?|\{[^}]*\})\s*from\s*"[^"]+";/g,
    "",
  );
  assert.equal(rest.trim(), "");
});

Deno.test("nothing imports tests/, bench/ or examples/", () => {
  const wrong = files.filter((path) =>
    importsOf(path).some(({ target }) => /^(tests|bench|examples)\//.test(target))
  );
  assert.deepEqual(wrong, []);
});

/** Words that others have named, in American spelling: in formats, packages and titles. */
const FOREIGN = new RegExp(
  [
    '"optimizer[^"]*"', // the name in checkpoints, and in PyTorch's
    "discriminatorOptimizer",
    "optimizer\\.(velocity|state)",
    "BatchNormalization|InstanceNormalization|[Ii]nitializer", // ONNX
    "MPI_THREAD_SERIALIZED",
    "NO_COLOR|FORCE_COLOR|noColor|OutHasColors|ErrHasColors",
    "\\bcolor(-scheme)?:|nNeighbors", // style sheets, plots, UMAP
    "colorSpaceConversion", // of images in browsers
    "gtFine_color",
    "Lavin and Gray",
    "PyTorch's normalize|import \\{[^}]*normalize[^}]*\\}|\\bnormalize\\(", // node:path, String
    "\\b(de)?serialize\\b", // node:v8
    "regularized information|maximization, 2010",
  ].join("|"),
  "g",
);

Deno.test("identifiers and prose are in British spelling", () => {
  const american =
    /\w*(optimiz|normaliz|initializ|regulariz|minimiz|maximiz|summariz|serializ|color|\bgray|center|neighbor|behavior|labeled)\w*/gi;
  const folders = [...FOLDERS, "tests", "bench", "examples"];
  const paths = [
    "mod.ts",
    ...folders.flatMap((folder) => [
      ...filesIn(folder, ".ts"),
      ...filesIn(folder, ".wgsl"),
    ]),
  ].filter((path) => path !== "tests/architecture_test.ts");
  const wrong = paths.flatMap((path) =>
    [...read(path).replace(FOREIGN, "").matchAll(american)].map(([word]) => `${path}: ${word}`)
  );
  assert.deepEqual(wrong, []);
});

/** Some are installed apart: Deno fetches all that a lock names, for whatever command comes first. */
for (
  const folder of [
    "",
    "package/",
    "tests/browser/",
    "tests/dawn/",
    "examples/browser/",
    "examples/earth/pictures/",
  ]
) {
  Deno.test(`the lock file ${folder}deno.lock is frozen, has every package's hash, and none whose scripts are unmentioned`, () => {
    const { lock, allowScripts } = JSON.parse(read(`${folder}deno.json`));
    assert.equal(
      lock.frozen,
      true,
      "in deno.json, as `deno task` itself installs before its command",
    );
    const packages: [string, { integrity?: string; scripts?: boolean }][] = Object.entries(
      JSON.parse(read(`${folder}deno.lock`)).npm,
    );
    for (const [name, { integrity }] of packages) {
      assert.match(integrity ?? "", /^sha512-[A-Za-z0-9+/]{86}==$/, name);
    }
    // Deno runs none of them, and warns of those that are not listed.
    const withScripts = packages.filter(([, { scripts }]) => scripts)
      .map(([name]) => `npm:${name.replace(/(?<=.)@.*/, "")}`);
    assert.deepEqual(allowScripts, { deny: withScripts });
  });

  Deno.test(`every version in ${folder}deno.json is pinned`, () => {
    const { imports } = JSON.parse(read(`${folder}deno.json`)) as {
      imports: Record<string, string>;
    };
    for (const [name, specifier] of Object.entries(imports)) {
      if (name === "@proda/webgpu") continue; // the project itself
      assert.match(specifier, /^npm:(@[^/]+\/)?[^@/]+@\d+\.\d+\.\d+$/, name);
    }
  });
}
