const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** Bytes for people, in binary units with at most three significant digits: 1536 becomes "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const step = bytes <= 0 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** step;
  const digits = step === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${UNITS[step]}`;
}

/**
 * Reads "2GiB", "512 MB", "4g" or plain bytes; GB and GiB alike count in powers of 1024, as GPU memory is sold.
 * Returns null for anything else.
 */
export function parseBytes(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*$/i.exec(text);
  if (!match) return null;
  const power = ["", "k", "m", "g", "t"].indexOf((match[2] ?? "").toLowerCase());
  const bytes = Math.round(Number(match[1]) * 1024 ** power);
  return Number.isSafeInteger(bytes) ? bytes : null;
}
