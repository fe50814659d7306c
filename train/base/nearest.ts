/**
 * The candidate that a mistyped name most likely means, or null if none is near: at most a third of
 * the letters may differ (insertions, deletions, replacements and swaps of neighbours; case is
 * free).
 */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const typed = name.toLowerCase();
  let best: string | null = null;
  let least = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(typed, candidate.toLowerCase());
    if (distance < least && distance <= Math.max(1, Math.max(name.length, candidate.length) / 3)) {
      [best, least] = [candidate, distance];
    }
  }
  return best;
}

/** Optimal string alignment distance (Damerau and Levenshtein). */
function editDistance(a: string, b: string): number {
  let twoBack: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j], twoBack[j - 2] + 1);
      }
    }
    [twoBack, previous] = [previous, row];
  }
  return previous[b.length];
}
