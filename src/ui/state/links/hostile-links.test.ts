import * as fc from "fast-check";
import { expect, it } from "vitest";
import { LayerpressError } from "../../../errors.ts";
import { numbers, patterns, recipes } from "../../../testing/fuzz/arbitraries.ts";
import { readRequest } from "../../actions/read-request.ts";
import { readLinkedJob } from "./linked-job.ts";
import { hostOfAddress, readLinkedModel } from "../fields/page-address.ts";

const PAGE = "https://pages.example.org/layerpress/";

const parameters = fc.constantFrom(
  "model", "recipe", "group-size", "ignore", "observer", "dampening-frac", "actorder", "dataset", "config", "split", "column",
  "samples", "max-seq-length", "seed", "no-shuffle", "hidden-states", "forward-products", "min-expert-tokens", "layers", "__proto__",
); // prettier-ignore

const links = fc
  .array(
    fc.tuple(
      parameters,
      fc.oneof(
        fc.constantFrom("W4A16", "gptq-W4A16", "best-W3A16", "FP8", "UNQUANTIZED", "yes", "static", "constructor", "a/b@../c", "javascript:1"),
        numbers.map(String),
        patterns,
        recipes,
        fc.string(),
      ),
    ), // prettier-ignore
    { maxLength: 8 },
  )
  .map((pairs) => new URLSearchParams(pairs).toString());

function followLink(search: string): void {
  const model = readLinkedModel(search);
  if (model !== null) hostOfAddress(model, PAGE);
  const job = readLinkedJob(search);
  if (job) readRequest(job);
}

it("links of strangers fill in the form, or end in errors of ours", () => {
  const property = fc.property(links, (search) => {
    try {
      followLink(search);
    } catch (error) {
      if (!(error instanceof LayerpressError)) throw error;
    }
  });
  expect(fc.check(property, { seed: 20_261_129, numRuns: 300 })).toMatchObject({
    failed: false,
    numRuns: 300,
  });
});
