// What can go wrong between a page and a model server, as rules that a test gives to the model server.

export type Fault =
  | { readonly kind: "status"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** 200 and the whole file, whatever range was asked for. */
  | { readonly kind: "ignore-range" }
  /** A well-formed answer whose body ends after so many bytes. */
  | { readonly kind: "short"; readonly bytes: number }
  /** Content-Range names other bytes than those asked for. */
  | { readonly kind: "wrong-range" }
  | { readonly kind: "etag"; readonly etag: string }
  /** Neither ETag nor Content-Range. */
  | { readonly kind: "bare" }
  | { readonly kind: "no-cors" }
  /** CORS lets the page read the body, but not Content-Range and ETag: what most simple servers do. */
  | { readonly kind: "unexposed" }
  /** The connection breaks after so many bytes of the body; with 0, before the headers. */
  | { readonly kind: "reset"; readonly afterBytes: number }
  /** A page in HTML, as captive portals and gateways send, for a part of the file. */
  | { readonly kind: "html" }
  /** The file has become so many bytes longer. */
  | { readonly kind: "length"; readonly more: number }
  /** The headers take their time. */
  | { readonly kind: "slow-headers"; readonly afterMs: number }
  /** A byte comes every so many milliseconds. */
  | { readonly kind: "drip"; readonly everyMs: number }
  /** Every address redirects to itself. */
  | { readonly kind: "redirect-circle" }
  /** A part of the compressed file for a part of the file. */
  | { readonly kind: "gzip" }
  /** Nothing more comes after so many bytes of the body, and the connection stays open. */
  | { readonly kind: "stall"; readonly afterBytes: number };

export interface FaultRule {
  readonly fault: Fault;
  /** Applies to paths that contain this text; to all without it. */
  readonly path?: string;
  readonly origin?: Origin;
  /** Requests that match and still pass before the fault begins. */
  skip?: number;
  /** How often the fault happens; for ever without it. */
  times?: number;
  /** When it first happened, by `performance.now()`. */
  begunAt?: number;
}

/** The fault of this request, counted off its rule. */
export function takeFault(rules: readonly FaultRule[], origin: Origin, path: string): Fault | null {
  for (const rule of rules) {
    if (rule.origin !== undefined && rule.origin !== origin) continue;
    if (rule.path !== undefined && !path.includes(rule.path)) continue;
    if (rule.skip) {
      rule.skip--;
      continue;
    }
    if (rule.times !== undefined && rule.times <= 0) continue;
    if (rule.times !== undefined) rule.times--;
    rule.begunAt ??= performance.now();
    return rule.fault;
  }
  return null;
}

export type Origin = "hub" | "cdn" | "files";
