// Two answers to one prompt, word by word: what they share in order, and what is each one's own.

export interface Run {
  readonly text: string;
  readonly isShared: boolean;
}

export interface WordDifference {
  readonly a: readonly Run[];
  readonly b: readonly Run[];
}

/** The comparison takes the product of both lengths; what is longer is compared up to here. */
const MAX_WORDS = 1000;

/** Marks the words outside of a longest common subsequence. Texts are the runs of either side, put together. */
export function diffWords(a: string, b: string): WordDifference {
  const [wordsA, wordsB] = [splitWords(a), splitWords(b)];
  const shared = commonWords(wordsA.slice(0, MAX_WORDS), wordsB.slice(0, MAX_WORDS));
  return {
    a: toRuns(wordsA, new Set(shared.map(([at]) => at))),
    b: toRuns(wordsB, new Set(shared.map(([, at]) => at))),
  };
}

/** Words with the space after them; space before the first stands alone. */
function splitWords(text: string): string[] {
  return text.match(/^\s+|\S+\s*/g) ?? [];
}

/** Pairs of places in `a` and `b` that a longest common subsequence joins; words are equal without the space after them. */
function commonWords(a: readonly string[], b: readonly string[]): [number, number][] {
  const width = b.length + 1;
  /** Length of the longest one of what follows each pair of places. */
  const lengths = new Uint16Array((a.length + 1) * width);
  const isEqual = (i: number, j: number) => a[i]?.trim() === b[j]?.trim();
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] = isEqual(i, j)
        ? (lengths[(i + 1) * width + j + 1] ?? 0) + 1
        : Math.max(lengths[(i + 1) * width + j] ?? 0, lengths[i * width + j + 1] ?? 0);
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (isEqual(i, j)) pairs.push([i++, j++]);
    else if ((lengths[(i + 1) * width + j] ?? 0) >= (lengths[i * width + j + 1] ?? 0)) i++;
    else j++;
  }
  return pairs;
}

function toRuns(words: readonly string[], shared: ReadonlySet<number>): Run[] {
  const runs: { text: string; isShared: boolean }[] = [];
  for (const [at, word] of words.entries()) {
    const last = runs.at(-1);
    const isShared = shared.has(at);
    if (last?.isShared === isShared) last.text += word;
    else runs.push({ text: word, isShared });
  }
  return runs;
}
