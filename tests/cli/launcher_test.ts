// ./run with stand-ins for Deno and npm: which of them it starts, and how.

import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url);
const ARGS = ["eval", "--name", "two words", "a'b", "$HOME", ""];

/** Prints how it was called, or a version. */
const DENO = (version: string) =>
  `#!/bin/sh
if [ "$1" = --version ]; then echo "deno ${version} (stable, release, any)"; exit; fi
echo "deno ${version} backend=$DENO_WEBGPU_BACKEND"
printf '<%s>' "$@"
exit 7
`;
/** Says where a command writes when it is asked, and else how it was called. */
const ASKED_DENO = (answer: string) =>
  `#!/bin/sh
case $* in
  --version) echo "deno 2.9.6" ;;
  "run --allow-read --allow-env=MPI_LIB cli/permissions.ts "*) ${answer} ;;
  *) printf '<%s>' "$@" ;;
esac
`;
/** Installs a Deno that says 9.9.9 where npm would put it, and keeps its calls and the last lock. */
const NPM = `#!/bin/sh
echo "$@" >> "$(dirname "$0")/npm.log"
while [ $# -gt 0 ]; do case $1 in --prefix) prefix=$2; shift ;; esac; shift; done
cp "$prefix/package-lock.json" "$(dirname "$0")"
mkdir -p "$prefix/node_modules/@deno/any"
cp "$(dirname "$0")/installed" "$prefix/node_modules/@deno/any/deno"
`;

/** A copy of ./run beside a folder of stand-ins that alone is on PATH, with what the script needs. */
async function withLauncher(
  standIns: Record<string, string>,
  use: (start: typeof launch, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const launch = makeLaunch(folder);
  try {
    await Deno.mkdir(join(folder, "bin"));
    await Deno.copyFile(new URL("run", ROOT), join(folder, "run"));
    await Deno.chmod(join(folder, "run"), 0o755);
    for (const [name, script] of Object.entries(standIns)) {
      await Deno.writeTextFile(join(folder, "bin", name), script, { mode: 0o755 });
    }
    for (const tool of ["sh", "dirname", "uname", "mkdir", "mv", "rm", "cp"]) {
      const path = [`/bin/${tool}`, `/usr/bin/${tool}`].find((path) => exists(path));
      if (path !== undefined) await Deno.symlink(path, join(folder, "bin", tool));
    }
    await use(launch, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

declare function launch(environment?: Record<string, string>): Promise<{
  code: number;
  stdout: string;
  stderr: string;
}>;

function makeLaunch(folder: string): typeof launch {
  return async (environment = {}) => {
    const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
      args: [join(folder, "run"), ...ARGS],
      // A driver is named, so that no test installs one.
      env: { PATH: join(folder, "bin"), VK_DRIVER_FILES: "any.json", ...environment },
      clearEnv: true,
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

const TASK = `<task><--quiet>${ARGS.map((argument) => `<${argument}>`).join("")}`;
const BACKEND = Deno.build.os === "darwin" ? "metal" : "vulkan";
const ignore = Deno.build.os === "windows";

Deno.test({
  name: "the launcher runs a recent Deno of PATH with every argument and its exit code",
  ignore,
  fn: () =>
    withLauncher({ deno: DENO("2.9.0") }, async (launch) => {
      const { code, stdout, stderr } = await launch();
      assert.equal(stdout, `deno 2.9.0 backend=${BACKEND}\n${TASK}`);
      assert.equal(stderr, "");
      assert.equal(code, 7);
    }),
});

Deno.test({
  name: "the launcher accepts later versions and a backend of the user's choice",
  ignore,
  fn: () =>
    withLauncher({ deno: DENO("3.0.1-rc.1+abc") }, async (launch) => {
      const { stdout } = await launch({ DENO_WEBGPU_BACKEND: "gl" });
      assert.match(stdout, /^deno 3\.0\.1-rc\.1\+abc backend=gl\n/);
    }),
});

for (const [what, old] of [["no", null], ["an old", "2.8.9"], ["a very old", "1.46.3"]] as const) {
  Deno.test({
    name: `with ${what} Deno on PATH the launcher installs the pinned one once`,
    ignore,
    fn: () => {
      const deno = old === null ? {} : { deno: DENO(old) };
      return withLauncher(
        { ...deno, npm: NPM, installed: DENO("9.9.9") },
        async (launch, folder) => {
          const first = await launch();
          assert.equal(first.code, 7, first.stderr);
          assert.match(first.stdout, /^deno 9\.9\.9 /);
          assert.ok(first.stdout.endsWith(TASK));
          const second = await launch();
          assert.equal(second.stdout, first.stdout);
          assert.equal(second.stderr, "");
          const calls = await Deno.readTextFile(join(folder, "bin", "npm.log"));
          assert.match(calls, /^ci --prefix [^\n]* --ignore-scripts [^\n]*\n$/);
          const lock = JSON.parse(
            await Deno.readTextFile(join(folder, "bin", "package-lock.json")),
          );
          const [[, wanted], [path, { version, integrity }], ...others] = Object.entries<
            Record<string, string>
          >(lock.packages);
          assert.deepEqual(wanted.dependencies, { [path.replace("node_modules/", "")]: "2.9.6" });
          assert.match(path, /^node_modules\/@deno\/(linux|darwin)-(x64|arm64)/);
          assert.equal(version, "2.9.6");
          assert.match(integrity, /^sha512-[A-Za-z0-9+/]{86}==$/);
          assert.deepEqual(others, []);
          assert.deepEqual([...Deno.readDirSync(join(folder, ".deno"))].map(({ name }) => name), [
            "2.9.6",
          ]);
        },
      );
    },
  });
}

Deno.test({
  name: "an installation that fails leaves nothing behind and is tried again",
  ignore,
  fn: () =>
    withLauncher({ npm: "#!/bin/sh\nexit 1\n" }, async (launch, folder) => {
      const { code, stderr } = await launch();
      assert.equal(code, 2);
      assert.match(stderr, /Cannot install Deno 2\.9\.6 as npm failed or [^\n]* \(see above\): /);
      assert.deepEqual([...Deno.readDirSync(join(folder, ".deno"))], []);
    }),
});

/** Any package whatever is asked for: its name is in the path, its bytes are not those of a Deno. */
const REGISTRY = `
const server = require("http").createServer(({ url }, response) => {
  if (url.endsWith(".tgz")) return response.end("other bytes");
  const name = decodeURIComponent(url.slice(1)), version = "2.9.6";
  const tarball = "http://127.0.0.1:" + server.address().port + "/package.tgz";
  const versions = { [version]: { name, version, dist: { tarball } } };
  response.end(JSON.stringify({ name, "dist-tags": { latest: version }, versions }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

Deno.test({
  name: "npm itself refuses a Deno whose bytes have not the hash in ./run",
  ignore: ignore || !await hasTool("npm"),
  fn: () =>
    // The real npm, with a registry that sends other bytes.
    withLauncher({
      "npm": `#!/bin/sh
folder=$(dirname "$0")
PATH=$REAL_PATH
node "$folder/registry.cjs" >"$folder/port" &
server=$!
while [ ! -s "$folder/port" ]; do sleep 0.05; done
npm "$@" --registry "http://127.0.0.1:$(cat "$folder/port")" --cache "$folder/cache" --fetch-retries=0
code=$?
kill $server
exit $code
`,
      "registry.cjs": REGISTRY,
    }, async (launch, folder) => {
      const { code, stdout, stderr } = await launch({ REAL_PATH: await realPath() });
      assert.match(stderr, /EINTEGRITY/);
      assert.match(
        stderr,
        /\nCannot install Deno 2\.9\.6 as npm failed or what it got has not the hash [^\n]*\n$/,
      );
      assert.equal(stdout, "");
      assert.equal(code, 2);
      assert.deepEqual([...Deno.readDirSync(join(folder, ".deno"))], []);
    }),
});

/** PATH, for which the tests have no permission. */
async function realPath(): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", { args: ["-c", 'echo "$PATH"'] }).output();
  return new TextDecoder().decode(stdout).trim();
}

async function hasTool(name: string): Promise<boolean> {
  if (ignore) return false;
  const args = ["-c", `command -v ${name}`];
  return (await new Deno.Command("/bin/sh", { args, stdout: "null" }).output()).success;
}

Deno.test({
  name: "the launcher lets a command do what its arguments need, and nothing else",
  ignore,
  fn: async () => {
    for (
      const [answer, permissions] of [
        ["echo '--allow-write=runs/a b,data'", "<--allow-read><--allow-write=runs/a b,data>"],
        [
          "echo '--allow-write=*,it'\\''s'; echo '--allow-ffi=/opt/a b/libmpi.so'",
          "<--allow-read><--allow-write=*,it's><--allow-ffi=/opt/a b/libmpi.so>",
        ],
        ["echo", "<--allow-read>"],
      ]
    ) {
      await withLauncher({ deno: ASKED_DENO(answer) }, async (launch) => {
        const { code, stdout, stderr } = await launch();
        const start = `<run><--no-prompt>${permissions}<cli/main.ts>`;
        assert.equal(stdout, start + ARGS.map((argument) => `<${argument}>`).join(""));
        assert.deepEqual([code, stderr], [0, ""]);
      });
    }
    await withLauncher({ deno: ASKED_DENO("exit 1") }, async (launch) => {
      assert.equal((await launch()).stdout, TASK, "what is no command is a task");
    });
  },
});

Deno.test({
  name: "the launcher lists GPUs for a command that asks for them, and for no other",
  ignore,
  fn: async () => {
    for (
      const [answer, gpus] of [
        ["echo --allow-env=MPI_LIB,PRODA_GPUS", "0000:65:00.0 10de:2330\n"],
        ["echo --allow-write=runs", "none"],
      ]
    ) {
      const deno = ASKED_DENO(answer).replace(
        "*) printf",
        '*) printf "%s\n" "${PRODA_GPUS-none}" #',
      );
      await withLauncher({ deno }, async (launch, folder) => {
        await Deno.mkdir(join(folder, "cli"));
        await Deno.writeTextFile(join(folder, "cli", "gpus.sh"), "echo 0000:65:00.0 10de:2330");
        const { code, stdout, stderr } = await launch();
        assert.deepEqual([code, stdout.trim(), stderr], [0, gpus.trim(), ""]);
      });
    }
  },
});

Deno.test({
  name: "with neither Deno nor npm the launcher says what to install",
  ignore,
  fn: () =>
    withLauncher({}, async (launch) => {
      const { code, stdout, stderr } = await launch();
      assert.equal(
        stderr,
        "Cannot run a task as neither Deno 2.9 or newer nor npm was found on PATH: " +
          "install Node (with npm) or Deno, then run this again.\n",
      );
      assert.equal(stdout, "");
      assert.equal(code, 2);
    }),
});

Deno.test("the launcher installs the version that the documents and CI speak of", () => {
  const script = Deno.readTextFileSync(new URL("run", ROOT));
  assert.match(script, /^deno_version=2\.9\.6 /m);
});
