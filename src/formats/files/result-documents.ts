// Names of the files in which a result tells of itself.

export const REPORT = "quantization-report.json";
export const CARD = "README.md";
export const RECEIPT = "receipt.json";

/** What a receipt gives no hash of: one tells of times, both of a quality that may be measured later, and the receipt itself. */
const UNHASHED: ReadonlySet<string> = new Set([REPORT, CARD, RECEIPT]);

/** Whether a receipt states the hash of the result's file. */
export function isHashed(path: string): boolean {
  return !UNHASHED.has(path);
}
