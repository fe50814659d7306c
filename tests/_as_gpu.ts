// Passes the machine's adapter off as a GPU, so that a machine without one tests the path that GPUs
// take: `deno test --preload tests/_as_gpu.ts`. Processes that tests start see the same adapter.

Object.defineProperties(GPUAdapterInfo.prototype, {
  isFallbackAdapter: { get: () => false },
  description: { get: () => "software in place of a GPU" },
});

const { Command } = Deno;

/** Adds this module to every `deno run`, also where a shell starts it. */
function preloaded(words: readonly string[]): string[] {
  return words.flatMap((word, index) =>
    word === "run" && words[index - 1] === "deno"
      ? [word, "--preload", import.meta.filename as string]
      : [word]
  );
}

Deno.Command = class extends Command {
  constructor(command: string | URL, options: Deno.CommandOptions = {}) {
    const [, ...args] = preloaded([String(command), ...options.args ?? []]);
    super(command, { ...options, args });
  }
};
