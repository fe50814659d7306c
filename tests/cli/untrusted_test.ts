// Files and folders that are made to hang or to kill a command, given to the command itself.

import assert from "node:assert/strict";
import { join } from "node:path";
import { pickleOf, text, torchFile } from "../nn/formats/_torch_files.ts";
import { namesIn, withFolder } from "../train/_folder.ts";
import { imagePng, labelPng, write } from "../train/_png.ts";
import { startProgram } from "./_program.ts";

/** Runs the program; it is ended, and has failed, after a minute. */
async function refused(args: string[], code = 2): Promise<string> {
  const child = startProgram(args);
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const output = await child.output();
  clearTimeout(timer);
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  assert.equal(output.code, code, `${stdout}\n${stderr}`.slice(0, 2000));
  assert.ok(!/^ +at /m.test(stderr), stderr);
  return code === 2 ? stderr : stdout;
}

Deno.test("convert --list survives a pickle of some hundred bytes whose text would be terabytes", () =>
  withFolder(async (folder) => {
    const path = join(folder, "w.pth");
    const twice = Array.from({ length: 60 }, (_, i) => pickleOf("q", i, "h", i, 0x86));
    Deno.writeFileSync(path, torchFile(pickleOf(text("ha"), ...twice, text("x"), 0x93, "."), {}));
    assert.equal(
      await refused(["convert", "--list", path]),
      `Cannot read weights ${path} as it names what is no name, which is not among the few names ` +
        `that weights need; nothing of it was run; give a safetensors file or what torch.save makes ` +
        `of a state dict\n`,
    );
  }));

Deno.test({
  name: "train, inspect and convert end where a named pipe lies among the files",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (folder) => {
      const data = join(folder, "game");
      write(join(data, "images", "1.png"), imagePng(1, 40, 24));
      write(join(data, "labels", "1.png"), labelPng(7, 40, 24));
      const pipe = join(data, "images", "2.png");
      const { success } = new Deno.Command("/bin/sh", { args: ["-c", 'mkfifo "$0"', pipe] })
        .outputSync();
      assert.ok(success);
      write(join(data, "labels", "2.png"), labelPng(7, 40, 24));
      const sentence =
        `Cannot read ${pipe} as it is a named pipe and no regular file: expected a ` +
        `PNG file; restore the file or correct the path`;
      const sheet = join(folder, "sheet.png");
      const inspected = ["inspect", "--data", data, "--layout", "gta5", "--sheet", sheet];
      assert.ok((await refused(inspected, 1)).includes(`1 problem was found:\n- ${sentence}\n`));
      const out = join(folder, "run");
      const trained = await refused([
        ...["train", "--source", data, "--target", data, "--target-layout", "gta5"],
        ...["--preset", "quick", "--out", out],
      ]);
      assert.equal(trained.trim().split("\n").at(-1), sentence);
      const other = join(folder, "w.safetensors");
      const converted = await refused(["convert", pipe, other]);
      assert.match(converted, /as it is a named pipe and no regular file/);
      assert.ok(!namesIn(folder).includes("w.safetensors"));
    }),
});
