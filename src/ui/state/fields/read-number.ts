export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}

/** A number as typed, or null if it is none or outside of the range. */
export function readNumber(text: string, { min, max, whole }: NumberRange): number | null {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= min && value <= max)) return null;
  return whole && !Number.isSafeInteger(value) ? null : value;
}
