// Lines that a program writes between those of a driver, and what lies between two of them.

const START = "=== ";

/** Writes a mark on standard error, where drivers write too, before it returns. */
export function mark(kind: string, text = ""): void {
  const line = new TextEncoder().encode(`${START}${kind} ${text}\n`);
  for (let at = 0; at < line.length;) at += Deno.stderr.writeSync(line.subarray(at));
}

/** The text behind every mark of a kind up to the next mark, by the text of the mark. */
export function sections(output: string, kind: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of output.split(`\n${START}`).slice(1)) {
    const end = part.indexOf("\n");
    const [head, body] = [part.slice(0, end), part.slice(end + 1)];
    if (!head.startsWith(`${kind} `)) continue;
    const name = head.slice(kind.length + 1);
    if (found.has(name)) throw new Error(`"${head}" is marked twice: names must be unique`);
    found.set(name, body);
  }
  return found;
}
