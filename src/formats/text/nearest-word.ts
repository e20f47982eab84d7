/** Longer words are not compared: they are no slips of the hand. */
const MAX_LENGTH = 64;

/** The word that a mistyped one was probably meant to be: at most a third of its letters differ. Null if none is near. */
export function nearestWord(typed: string, words: readonly string[]): string | null {
  if (typed.length > MAX_LENGTH) return null;
  const [nearest] = words
    .map((word) => ({ word, distance: editDistance(typed.toLowerCase(), word.toLowerCase()) }))
    .toSorted((a, b) => a.distance - b.distance);
  return nearest && nearest.distance <= Math.max(1, nearest.word.length / 3) ? nearest.word : null;
}

/** Insertions, deletions, substitutions and swaps of neighbours that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const candidates = [(row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same];
      if (swapped) candidates.push((before[j - 2] ?? 0) + 1);
      next.push(Math.min(...candidates));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
