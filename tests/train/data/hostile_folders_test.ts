// Folders that hold what is no file, or that go round in circles, and files that change or are odd.

import assert from "node:assert/strict";
import { join } from "node:path";
import { decodeItem, listDataset, openDataset } from "../../../train/data/dataset.ts";
import { readClassFile } from "../../../train/data/class_file.ts";
import { FOLDER, GTA5 } from "../../../train/data/layouts.ts";
import { inspectDataset } from "../../../train/inspect/inspect.ts";
import { predictFolder } from "../../../train/networks/predict.ts";
import type { TrainedNetwork } from "../../../train/networks/trained_network.ts";
import { openWeights } from "../../../train/networks/weights_file.ts";
import { formatInspection } from "../../../cli/inspect.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, labelPng, write } from "../_png.ts";

const place = (root: string) => ({ root, layout: FOLDER, split: "" });
const open = (root: string) => openDataset({ ...place(root), trainIds: null });
const withoutPipes = Deno.build.os === "windows";

/** Makes a named pipe, which nobody writes to. */
function makePipe(path: string): void {
  const made = new Deno.Command("/bin/sh", { args: ["-c", 'mkfifo "$0"', path] }).outputSync();
  assert.ok(made.success);
}

/** Makes things that are no files; to open most of them waits or never ends. */
const ODD: readonly (readonly [what: string, make: (path: string) => void])[] = [
  ["a named pipe", makePipe],
  ["a device", (path) => Deno.symlinkSync("/dev/zero", path)],
  ["a folder", (path) => Deno.mkdirSync(path)],
];

for (const [what, make] of ODD) {
  Deno.test({
    name: `${what} among images, labels, classes or weights is named and never opened`,
    ignore: withoutPipes,
    fn: () =>
      withFolder(async (root) => {
        const odd = join(root, "odd");
        make(odd);
        for (const name of ["a", "b"]) write(join(root, "images", `${name}.png`), imagePng(1));
        const linked = (...names: string[]) => {
          const path = join(root, ...names);
          Deno.mkdirSync(join(path, ".."), { recursive: true });
          Deno.symlinkSync(odd, path);
          return path;
        };
        const gta5 = { root, layout: GTA5, split: "", trainIds: [0] };
        for (const image of [linked("images", "c.png"), linked("images", "d.jpg")]) {
          const items = { name: "x", image, label: null };
          assert.throws(() => decodeItem(items, null), dataError(image, `as it is ${what}`));
        }
        const own = what === "a folder" ? gta5 : place(root);
        assert.throws(
          () => openDataset({ ...own, trainIds: null }),
          dataError(join(root, "images", "c.png"), `as it is ${what}`),
        );
        const { problems } = await inspectDataset({ root, layout: GTA5 });
        assert.equal(problems.length, 1);
        assert.ok(problems[0].includes(`c.png as it is ${what}`), problems[0]);
        await assert.rejects(
          predictFolder({} as TrainedNetwork, {
            input: join(root, "images"),
            output: join(root, "out"),
          }),
          dataError(`c.png as it is ${what}`),
        );
        Deno.removeSync(join(root, "images", "c.png"));
        write(join(root, "labels", "a.png"), labelPng(0));
        const label = linked("labels", "b.png");
        assert.throws(() => openDataset(gta5), dataError(label, `as it is ${what}`));
        const classes = linked("classes.json");
        assert.throws(() => readClassFile(root), dataError(classes, `as it is ${what}`));
        const weights = linked("weights.pth");
        assert.throws(() => openWeights(weights), dataError(weights, `as it is ${what}`));
      }),
  });
}

Deno.test("links that lead round in circles are followed once, and a folder keeps its own name", () =>
  withFolder(async (root) => {
    for (const name of ["a", "b", "c"]) {
      write(join(root, "images", name, "1.png"), imagePng(1));
      Deno.symlinkSync("..", join(root, "images", name, "up"));
      Deno.symlinkSync(join("..", "c"), join(root, "images", name, "across"));
    }
    Deno.symlinkSync("b", join(root, "images", "0"));
    write(join(root, "elsewhere", "2.png"), imagePng(1));
    Deno.symlinkSync(join("..", "elsewhere"), join(root, "images", "more"));
    const { items, skipped } = listDataset(place(root), false);
    assert.deepEqual(items.map(({ name }) => name), ["a/1", "b/1", "c/1", "more/2"]);
    assert.equal(skipped.length, 7);
    assert.equal(open(root).items.length, 4);
    const report = await inspectDataset({ root, layout: FOLDER });
    assert.deepEqual(report.problems, []);
    assert.match(
      report.notes.join("\n"),
      /left out, as links to folders that are listed already: /,
    );
  }));

Deno.test("an empty file, one that vanished and one that may not be read are named", () =>
  withFolder((root) => {
    for (const name of ["a.png", "b.jpg", "c.png"]) {
      const path = join(root, "images", name);
      write(path, new Uint8Array());
      assert.throws(() => open(root), dataError(`Cannot read ${path} as it is empty`));
      const { items: [item] } = listDataset(place(root), false);
      Deno.removeSync(path);
      assert.throws(
        () => decodeItem(item, null),
        dataError(`Cannot read ${path} as it does not exist`),
      );
    }
    Deno.symlinkSync("nowhere.png", join(root, "images", "d.png"));
    assert.throws(() => open(root), dataError("d.png as it does not exist"));
    Deno.removeSync(join(root, "images", "d.png"));
    Deno.symlinkSync("e.png", join(root, "images", "e.png"));
    assert.throws(() => open(root), dataError("e.png as"));
  }));

Deno.test("an image of a terabyte is refused before it is read", () =>
  withFolder((root) => {
    const path = join(root, "images", "a.png");
    write(path, imagePng(1));
    Deno.truncateSync(path, 2 ** 40);
    const { items: [item] } = listDataset(place(root), false);
    assert.throws(() => decodeItem(item, null), dataError(path, "as it has 1099511627776 bytes"));
  }));

Deno.test({
  name: "names with line breaks, escape sequences and quotation marks stay on one line",
  ignore: withoutPipes,
  fn: () =>
    withFolder(async (root) => {
      const name = '\x1b[31m"it\'s"\n\u202e\u0085.png';
      write(join(root, "images", name), Uint8Array.of(1));
      const shown = '"it\'s"\\n\u202e\u0085.png as it does not start with';
      assert.throws(() => open(root), dataError(shown));
      const report = await inspectDataset({ root, layout: FOLDER });
      assert.ok(formatInspection(report).split("\n").some((line) => line.includes(shown)));
      Deno.writeTextFileSync(join(root, "classes.json"), '{ "classes": [\n\x1b[2J');
      assert.throws(() => readClassFile(root), dataError("it is not JSON"));
    }),
});

Deno.test("a class file that nests, is huge or hides escape sequences is one sentence", () =>
  withFolder((root) => {
    const path = join(root, "classes.json");
    const entry = (name: string) => ({ name, colour: [1, 2, 3] });
    const files: [text: string, part: string][] = [
      [
        `{"classes":{"a":${"[".repeat(2e5)}${"]".repeat(2e5)}}}`,
        "[[[, expected a list or an object",
      ],
      [`{"classes":${"[".repeat(2e5)}`, "it is not JSON"],
      [" ".repeat(2 ** 21), "it has 2097152 bytes: expected 1048576 at most"],
      [JSON.stringify({ classes: [entry("\x1b[2J"), entry("b")] }), "a name without control"],
      [
        JSON.stringify({
          classes: [entry("a"), { ...entry("b"), colour: [9, 9, 9] }],
          ignore: { colours: Array.from({ length: 60_000 }, (_, k) => [k >> 8, k & 255, 7]) },
        }).slice(0, -3) + ",[9,9,9]]}}",
        "colour [9, 9, 9] stands for two things",
      ],
    ];
    for (const [text, part] of files) {
      Deno.writeTextFileSync(path, text);
      const start = performance.now();
      assert.throws(() => readClassFile(root), dataError(path, part));
      assert.ok(performance.now() - start < 2000);
    }
  }));
