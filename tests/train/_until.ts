/** Waits until `found` finds something; fails after twenty seconds. */
export async function until<T>(what: string, found: () => T | false | undefined): Promise<T> {
  const start = performance.now();
  while (performance.now() - start < 20_000) {
    const value = found();
    if (value) return value;
    await new Promise((next) => setTimeout(next, 5));
  }
  throw new Error(`waited in vain until ${what}`);
}
