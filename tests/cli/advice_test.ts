// Advice names what exists: rooms below the command line speak of options, the command line of flags
// that its commands have.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CONFIG_KEYS, flagsFor } from "../../cli/options.ts";
import { createProgram } from "../../cli/program.ts";
import { presetConfig } from "../../train/config/config.ts";

const ROOT = join(import.meta.dirname as string, "../..");
/** A flag, but neither the operator of `--count` nor a rule of dashes. */
const FLAG = /(?<![\w.)\]-]|var\(|srun )--[a-z][a-z-]*[a-z](?!\w|\.\w|[([])/g;
/** Flags of other programs: V8's, Deno's and mpirun's; srun stands before its own. */
const FOREIGN = [
  "--expose-gc",
  ...["--allow-env", "--allow-ffi", "--allow-read", "--allow-sys", "--allow-write"],
  "--bind-to",
];
const { commands } = createProgram(() => {});

/** The TypeScript and WGSL files of folders. */
function sources(...folders: string[]): { path: string; text: string }[] {
  const paths = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
  ).filter((path) => /\.(ts|wgsl)$/.test(path)).sort();
  return paths.map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

/** Whether the configuration has a key; `*` stands for any name, as in `stages.*.steps`. */
function hasKey(key: string): boolean {
  let found: unknown[] = [presetConfig("default")];
  for (const name of key.split(".")) {
    found = found.flatMap((section) =>
      typeof section !== "object" || section === null
        ? []
        : Object.entries(section).flatMap(([own, value]) =>
          name === "*" || name === own ? [value] : []
        )
    );
  }
  return found.length > 0;
}

/** Texts of an error, `*` in the place of what is inserted, and its code. */
interface ErrorText {
  readonly text: string;
  readonly code: string;
}

/** What stands between the parentheses of `new DataError(…)` and its helpers. */
function errorsIn(source: string): ErrorText[] {
  return [...source.matchAll(/\b(?:new \w*Error|fail|failure)\(/g)].map((
    { index, 0: { length } },
  ) => readCall(source, index + length));
}

/** Reads code and its strings until the parenthesis closes. */
function readCall(source: string, start: number): ErrorText {
  let text = "";
  let at = start;
  for (let open = 1; open > 0 && at < source.length; at++) {
    const character = source[at];
    if (character === "(") open++;
    else if (character === ")") open--;
    else if (character === ",") text += "\n";
    else if (character === '"' || character === "'" || character === "`") {
      const end = endOfString(source, at);
      text += withoutInsertions(source.slice(at + 1, end));
      at = end;
    }
  }
  return { text, code: source.slice(start, at) };
}

/** The place of the quote that ends the string which begins at `at`. */
function endOfString(source: string, at: number): number {
  const quote = source[at];
  for (let end = at + 1; end < source.length; end++) {
    if (source[end] === "\\") end++;
    else if (source[end] === quote) return end;
    else if (quote === "`" && source.startsWith("${", end)) end = endOfInsertion(source, end + 2);
  }
  return source.length;
}

/** The place of the brace that ends an insertion, in which there may be strings again. */
function endOfInsertion(source: string, at: number): number {
  for (let open = 1; at < source.length; at++) {
    const character = source[at];
    if (character === "{") open++;
    else if (character === "}" && --open === 0) return at;
    else if (character === '"' || character === "`") at = endOfString(source, at);
  }
  return at;
}

function withoutInsertions(template: string): string {
  let text = "";
  for (let at = 0; at < template.length; at++) {
    if (template.startsWith("${", at)) {
      at = endOfInsertion(template, at + 2);
      text += "*";
    } else text += template[at];
  }
  return text;
}

Deno.test("no room below the command line names a flag or a command", () => {
  const wrong = sources("kernels", "nn", "train")
    .flatMap(({ path, text }) =>
      [...text.matchAll(FLAG), ...text.matchAll(/--\$\{|\.\/run \w+|\bdeno task \w+/g)]
        .filter(([found]) => !FOREIGN.includes(found))
        .map(([found]) => `${path} names ${found}`)
    );
  assert.deepEqual(wrong, []);
});

Deno.test("every flag and command that the command line names exists", () => {
  const flags = ["--help", ...commands.flatMap(({ options }) => options.map(({ long }) => long))];
  const names = ["COMMAND", ...commands.map((command) => command.name())];
  const wrong = sources("cli").flatMap(({ path, text }) => [
    ...[...text.matchAll(FLAG)].filter(([flag]) => !flags.includes(flag) && !FOREIGN.includes(flag))
      .map(([flag]) => `${path} names ${flag}`),
    ...[...text.matchAll(/\.\/run (\w+)/g)].filter(([, name]) => !names.includes(name))
      .map(([found]) => `${path} names ${found}`),
  ]);
  assert.deepEqual(wrong, []);
});

Deno.test("every key of the configuration that an error names exists", () => {
  const sections = Object.entries(presetConfig("default"))
    .flatMap(([name, value]) => typeof value === "object" && value !== null ? [name] : []);
  const pattern = new RegExp(`\\b(?:${sections.join("|")})(?:\\.(?:[a-zA-Z]\\w*|\\*))+`, "g");
  const found = sources("cli", "train").flatMap(({ path, text }) =>
    errorsIn(text).flatMap(({ text }) =>
      [...text.matchAll(pattern)].map(([key]) => ({ path, key }))
    )
  );
  assert.ok(found.length >= 3, `only ${found.length} keys were found: is the pattern still right?`);
  assert.deepEqual(found.filter(({ key }) => !hasKey(key)), []);
});

Deno.test("every option that an error carries is a key of the configuration or has a flag", () => {
  const hasFlag = (option: string) =>
    commands.some((command) => flagsFor([option], command).length > 0);
  const wrong = sources("cli", "train").flatMap(({ path, text }) =>
    errorsIn(text)
      .flatMap(({ code }) => /\boptions: \[([^\]]*)\]/.exec(code)?.[1] ?? [])
      .flatMap((list) => [...list.matchAll(/"([^"]+)"/g)])
      .filter(([, option]) => !hasKey(option) && !hasFlag(option))
      .map(([, option]) => `${path} advises ${option}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("every key that a flag sets exists, and every flag of the table", () => {
  const train = commands.find((command) => command.name() === "train");
  const flags = train?.options.map((option) => option.attributeName()) ?? [];
  for (const [flag, key] of Object.entries(CONFIG_KEYS)) {
    assert.ok(flags.includes(flag), flag);
    assert.ok(hasKey(key), key);
  }
});
