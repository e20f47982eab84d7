import { expect, it } from "vitest";
import { eventually } from "../../../testing/eventually.ts";
import { createApp } from "../../actions/create-app.ts";
import { inspectAddress } from "../../actions/inspect-model.ts";
import { fakeServices, OPTIONS } from "../../testing/fake-services.ts";
import type { JobOptions } from "../../../api/job-options.ts";
import { jobLink } from "./linked-job.ts";

const PAGE = "https://pages.example.org/layerpress/?model=old#part";

const CALIBRATED: JobOptions = {
  recipe: {
    kind: "controls",
    scheme: "W8A8",
    group_size: null,
    ignore: ["lm_head", "re:.*(gate|up){1,2}_proj"],
    method: { name: "GPTQModifier", dampening_frac: 0.05, actorder: null },
    rewriter: "SmoothQuantModifier",
    observer: "memoryless_mse",
  },
  calibration: {
    source: { kind: "dataset", name: "org/rows", config: "en", split: "test", column: "text" },
    num_calibration_samples: 64,
    max_seq_length: 1024,
    shuffle_calibration_samples: false,
    seed: 42,
    hidden_states_dtype: "BF16",
    forward_products: "F32",
    propagate_error: false,
    moe_calibrate_all_experts: false,
    moe_min_tokens_per_expert: 100,
  },
  gpuBudgetBytes: 1024 ** 3,
  keepSource: true,
};

/** The page as a link opens it, and its model inspected by a click. */
async function follow(link: string) {
  const app = createApp(fakeServices(), link);
  await inspectAddress(app);
  await eventually(() => expect(app.state.planning.value).toBe(false));
  return app.state;
}

it("a link gives the next page the options of this one, but for what suits one machine", async () => {
  const link = jobLink(PAGE, "org/name@main", CALIBRATED, true) ?? "";
  const state = await follow(link);
  expect(state.notice.value).toBeNull();
  expect(state.address.value).toBe("org/name@main");
  const { recipe, calibration } = CALIBRATED;
  const options = state.options.value;
  expect(options).toMatchObject({ recipe, keepSource: false });
  // Where nothing is shuffled there is no seed to tell.
  expect(options?.calibration).toEqual(calibration);
});

it("a link can be read by people, and says nothing that is as usual", () => {
  expect(jobLink(PAGE, "org/name", OPTIONS, false)).toBe(
    "https://pages.example.org/layerpress/?model=org/name&recipe=W4A16",
  );
  expect(jobLink(PAGE, null, OPTIONS, false)).toBe("https://pages.example.org/layerpress/?recipe=W4A16");
});

it("a link leaves out an address's query, which may hold a secret", () => {
  const link = jobLink(PAGE, "https://models.example.org/tiny/?signature=secret", OPTIONS, false);
  expect(link).toBe(
    "https://pages.example.org/layerpress/?model=https://models.example.org/tiny/&recipe=W4A16",
  );
});

it("a recipe in YAML goes along unless it is too long", async () => {
  const text =
    "default_stage:\n  default_modifiers:\n    QuantizationModifier: {scheme: W8A16, targets: [Linear]}\n";
  const options: JobOptions = { ...OPTIONS, recipe: { kind: "yaml", text } };
  const state = await follow(jobLink(PAGE, "org/name", options, false) ?? "");
  expect(state.options.value?.recipe).toEqual({ kind: "yaml", text: text.trim() });
  const long = { ...OPTIONS, recipe: { kind: "yaml", text: `a: ${"b".repeat(9000)}` } } as const;
  expect(jobLink(PAGE, "org/name", long, false)).toBeNull();
});

it.each([
  ["recipe=gptq-W4A16&samples=many", /samples=many is not a whole number from 1 to 100000/],
  ["recipe=gptq-W4A16&dampening-frac=2", /not a number from 0 to 1/],
  ["recipe=gptq-W4A16&actorder=sideways", /none of static, group, none/],
  ["recipe=W4A16&samples=12", /needs no calibration/],
  ["recipe=W8A8&group-size=64", /no groups of columns/],
  ["recipe=gptq-W4A16&no-shuffle=no", /no-shuffle=no is not no-shuffle=yes/],
  ["recipe=gptq-W4A16&split=test", /split says what of a data set is taken, and the link names no dataset/],
  ["recipe=W4A16&layers=0..3", /layers is an option of the command line/],
  ["target-size=5GB", /target-size is an option of the command line/],
  ["recipe=W4A16&recipe=W8A8", /The link names recipe twice/],
  ["calibration=/home/a.txt", /calibration is an option of the command line/],
  ["group-size=x", /group-size=x is not a whole number/],
  [`ignore=${"a".repeat(5000)}`, /longer than a link can say/],
])(
  "what a link asks for and no page could do is told, and nothing of it is done: %s",
  async (search, sentence) => {
    const state = createApp(fakeServices(), `https://pages.example.org/?model=org/name&${search}`).state;
    expect(state.notice.value).toMatch(sentence);
    expect(state.recipe.scheme.value).toBe("W4A16");
    expect(state.address.value).toBe("org/name");
    expect(state.linked.value).toBeNull();
  },
);
