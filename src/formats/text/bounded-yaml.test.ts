import { expect, it } from "vitest";
import { carriedLicense } from "../../package/published-card.ts";
import { licenseOf } from "../../package/model-card.ts";
import { readYamlFields } from "./bounded-yaml.ts";

const BOMB = Array.from({ length: 9 }, (_, level) => {
  const inner = level === 0 ? "x" : `*a${level - 1}`;
  return `a${level}: &a${level} [${Array.from({ length: 9 }, () => inner).join(", ")}]`;
}).join("\n");

it.each([
  ["aliases of aliases", `${BOMB}\nlicense: mit`],
  ["an alias of what it lies in", "license: &a [*a]"],
  ["depth", `license: ${"[".repeat(20_000)}${"]".repeat(20_000)}`],
  ["keys without end", Array.from({ length: 20_000 }, (_, at) => `k${at}: 1`).join("\n")],
  ["no mapping", "just words"],
  ["nothing", ""],
])("fields of strangers' front matter are none where it has %s", (_, text) => {
  expect(readYamlFields(text)?.["license"]).toBeUndefined();
  const card = `---\n${text}\n---\n# A model`;
  expect(licenseOf(card)).toBeNull();
  expect(carriedLicense(card)).toBeNull();
});

it("reads fields, with the aliases that people write", () => {
  expect(readYamlFields("a: &x [1, 2]\nb: *x\nlicense: mit")).toEqual({
    a: [1, 2],
    b: [1, 2],
    license: "mit",
  });
});
