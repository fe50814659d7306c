/** At most `count` things, spread evenly over all. */
export function spread<T>(things: readonly T[], count: number): T[] {
  const kept = Math.min(count, things.length);
  return Array.from({ length: kept }, (_, i) => things[Math.floor(i * things.length / kept)]);
}
