// What a program asks of the operating system, in order: whether something reaches the disk before
// something else cannot be seen in the files afterwards.

/** Runs `body` and notes each write, fsync and rename as `write PATH`, `sync PATH` and `rename FROM to TO`. */
export async function fileCallsOf(body: () => void | Promise<void>): Promise<string[]> {
  const calls: string[] = [];
  const paths = new WeakMap<Deno.FsFile, string>();
  const { openSync, renameSync, rename } = Deno;
  const { writeSync, syncSync, syncDataSync } = Deno.FsFile.prototype;
  Deno.openSync = (path, options) => {
    const file = openSync(path, options);
    paths.set(file, String(path));
    return file;
  };
  Deno.renameSync = (from, to) => {
    calls.push(`rename ${from} to ${to}`);
    renameSync(from, to);
  };
  Deno.rename = (from, to) => {
    calls.push(`rename ${from} to ${to}`);
    return rename(from, to);
  };
  Object.assign(Deno.FsFile.prototype, {
    writeSync(this: Deno.FsFile, bytes: Uint8Array) {
      calls.push(`write ${paths.get(this)}`);
      return writeSync.call(this, bytes);
    },
    syncSync(this: Deno.FsFile) {
      calls.push(`sync ${paths.get(this)}`);
      syncSync.call(this);
    },
    syncDataSync(this: Deno.FsFile) {
      calls.push(`sync ${paths.get(this)}`);
      syncDataSync.call(this);
    },
  });
  try {
    await body();
  } finally {
    Object.assign(Deno, { openSync, renameSync, rename });
    Object.assign(Deno.FsFile.prototype, { writeSync, syncSync, syncDataSync });
  }
  return calls;
}
