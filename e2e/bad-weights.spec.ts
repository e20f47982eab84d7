// A model or a text that turns out to be unusable once a job looks at it: a sentence that names what, and what is done is kept.

import { withFiles, withNaN } from "./altered-model.ts";
import { expect, test } from "./fixtures.ts";
import { failureOf, request, tokenIds, UNSHOWN } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { syntheticModel } from "../scripts/model-server/synthetic-model.ts";

const SIZES = { hidden: 128, intermediate: 256, heads: 4, kvHeads: 2, vocab: 256, dtype: "BF16" } as const;
const IDS = tokenIds(2, 32, SIZES.vocab);
const CONFIG = { architectures: ["LlamaForCausalLM"], model_type: "llama" };

let server: ModelServer;
test.beforeAll(async () => {
  const files = syntheticModel({ ...SIZES, layers: 2 });
  const quantized = { ...CONFIG, quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } };
  server = await startModelServer({
    models: {
      "made/good": { files },
      "made/weight": { files: await withNaN(files, "model.layers.1.mlp.up_proj.weight") },
      "made/norm": { files: await withNaN(files, "model.layers.1.input_layernorm.weight") },
      "made/quantized": { files: withFiles(files, { "config.json": JSON.stringify(quantized) }) },
      "made/mamba": { files: withFiles(files, { "config.json": JSON.stringify({ model_type: "mamba" }) }) },
    },
  });
});
test.afterAll(async () => await server.close());

const asked = (name: string, recipe: string, ids?: readonly (readonly number[])[]) =>
  request(`${server.filesUrl}/made/${name}/`, recipe, ids ? { groupSize: 32, ids } : {});

test("a NaN is named with its tensor, rounded or calibrated, and finished layers are kept", async ({
  page,
}) => {
  await page.goto(UNSHOWN);
  expect(await failureOf(page, asked("weight", "W8A16"))).toMatch(
    /model\.layers\.1\.mlp\.up_proj\.weight has 1 NaN or infinite weights.*row 0, column 0/,
  );
  expect(await failureOf(page, asked("norm", "gptq-w4a16", IDS))).toMatch(
    /Hessian of the input of model\.layers\.1\.self_attn\.q_proj.*NaN or infinite.*finished layers are kept/,
  );
  await page.goto("./");
  const jobs = page.getByRole("region", { name: "Unfinished" }).getByRole("listitem");
  await expect(jobs).toHaveText([/[1-9] of \d+ steps finished/, /[1-9] of \d+ steps finished/]);
});

test("text and ids that cannot calibrate, and models that cannot be, are said", async ({ page }) => {
  await page.goto(UNSHOWN);
  const good = asked("good", "gptq-w4a16", IDS);
  const withText = (name: string, text: string) => ({
    ...good,
    calibration: { ...good.calibration, file: { name, text } },
  });
  const cases = [
    [asked("good", "gptq-w4a16", [[1, 2, 256]]), /Token id 256 lies outside the model's vocabulary of 256/],
    [asked("good", "gptq-w4a16", [[1]]), /None of the 1 calibration samples has \d+ tokens or more/],
    [withText("none.txt", ""), /none\.txt is empty/],
    [withText("tale.txt", "Ada walked to the hill."), /no tokenizer\.json.*or choose a data-free recipe/],
    [withText("rows.jsonl", '{"story": "x"}'), /neither "text" nor "messages".*Name the column/],
    [asked("quantized", "W4A16"), /already quantized \(quant_method "bitsandbytes"\).*Choose the original/],
    [asked("mamba", "gptq-w4a16", IDS), /"mamba".*(data-free|without calibration)/i],
  ] as const;
  for (const [wanted, says] of cases) expect(await failureOf(page, wanted)).toMatch(says);
});
