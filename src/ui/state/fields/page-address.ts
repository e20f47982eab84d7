// What a link to this page may ask for, and what a typed address means before anybody is contacted. A link is written
// by strangers: it fills in the form, names the host, and then waits for a click.

/** Longer than any sensible address; keeps a hostile link from filling the page. */
const MAX_PARAMETER_LENGTH = 2_000;
export const HUB_HOST = "huggingface.co";
const HUB_ALIASES = [HUB_HOST, "www.huggingface.co", "hf.co"];
const HUB_ID = /^\w[\w.-]*\/\w[\w.-]*(@[\w./-]+)?\/?$/;

/** The sample model that is served beside the page. */
export const SAMPLE_ADDRESS = "sample/";

/** Reads `?model=…`; an empty or overlong value counts as absent. What else a link says, `linked-job.ts` reads. */
export function readLinkedModel(search: string): string | null {
  const value = new URLSearchParams(search).get("model")?.trim() ?? "";
  return value === "" || value.length > MAX_PARAMETER_LENGTH ? null : value;
}

/** The host that the first request for this address goes to, or null while the address means nothing yet. */
export function hostOfAddress(typed: string, pageUrl: string): string | null {
  const address = resolveAddress(typed.trim(), pageUrl);
  if (isHubAddress(address)) return HUB_HOST;
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return null;
  const { host } = new URL(address);
  return HUB_ALIASES.includes(host) ? HUB_HOST : host;
}

/** Makes addresses that are relative to the page absolute: "sample/", "./models/tiny", "/tiny/". */
function resolveAddress(address: string, pageUrl: string): string {
  const hasScheme = /^[a-z][a-z0-9+.-]*:/i.test(address);
  const relative = /^\.{0,2}\/(?!\/)/.test(address) || (address.endsWith("/") && !isHubAddress(address));
  return relative && !hasScheme ? new URL(address, pageUrl).href : address;
}

function isHubAddress(address: string): boolean {
  return HUB_ID.test(address) || HUB_ALIASES.some((host) => address.startsWith(`${host}/`));
}
