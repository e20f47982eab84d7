// What the build says of itself; vite.config.ts fills it in. Where nothing is built, as in tests, it is unknown.

declare const LAYERPRESS_VERSION: string | undefined;
declare const LAYERPRESS_COMMIT: string | undefined;

const UNKNOWN = "unknown";

export function buildFacts(): {
  readonly program: string;
  readonly version: string;
  readonly commit: string;
} {
  return {
    program: "Layerpress",
    version: typeof LAYERPRESS_VERSION === "undefined" ? UNKNOWN : LAYERPRESS_VERSION,
    commit: typeof LAYERPRESS_COMMIT === "undefined" ? UNKNOWN : LAYERPRESS_COMMIT,
  };
}
