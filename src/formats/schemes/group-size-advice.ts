// The group size that would fit, in a refusal and out of it: errors cross from a worker as their message alone, and page and
// command offer what it advises.

/** "A group size of 64 divides all of them", of the usual sizes the largest that divides `columns`. */
export function groupSizeAdvice(columns: number): string {
  const fitting = [128, 64, 32, 16].find((candidate) => columns % candidate === 0);
  return fitting
    ? `A group size of ${fitting} divides all of them`
    : "No usual group size divides all of them";
}

/** The group size that a refusal advises; null if it advises none. */
export function advisedGroupSize(message: string): number | null {
  const size = /A group size of (\d{1,5}) divides all of them/.exec(message)?.[1];
  return size === undefined ? null : Number(size);
}
