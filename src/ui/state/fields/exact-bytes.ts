import { formatBytes, parseBytes } from "../../../formats/text/format-bytes.ts";

/** "2 GiB" where that reads back as the same amount, else plain bytes: rounding would make another job of it. */
export function exactBytes(bytes: number): string {
  const text = formatBytes(bytes);
  return parseBytes(text) === bytes ? text : String(bytes);
}
