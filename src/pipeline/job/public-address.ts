// What of an address may be kept: its query may hold a signature or a token, and lies on disk for as long as the job.

export interface PublicAddress {
  readonly address: string;
  /** True if something was left out: the address may not open the model by itself. */
  readonly shortened: boolean;
}

/** An address without query and fragment. */
export function publicAddress(address: string): PublicAddress {
  const [kept = ""] = address.split(/[?#]/, 1);
  return { address: kept.trim(), shortened: address.includes("?") };
}
