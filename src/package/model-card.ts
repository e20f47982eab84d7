// The result's README.md: front matter that the Hub reads, what was done, and how to load it. Names and licences come
// from strangers: the YAML library quotes them, and the text shows them as code.

import { stringify } from "yaml";
import { readYamlFields } from "../formats/text/bounded-yaml.ts";
import { formatBytes } from "../formats/text/format-bytes.ts";
import type { LossTotals, ReportedCalibration } from "./quantization-report.ts";
import { listSome } from "../formats/text/list-some.ts";

/** Model cards are short; what is longer is not read for front matter. */
export const MAX_CARD_BYTES = 1_000_000;

/** Front-matter fields that stay true for the quantized model. */
const CARRIED_FIELDS = [
  "license",
  "license_name",
  "license_link",
  "language",
  "pipeline_tag",
  "library_name",
] as const;

export interface CardFacts {
  readonly name: string;
  /** What was quantized, where it has no repository. */
  readonly sourceName: string;
  readonly repository: string | null;
  readonly revision: string | null;
  readonly schemes: readonly string[];
  readonly recipeYaml: string;
  readonly sourceBytes: number;
  readonly resultBytes: number;
  readonly bitsPerWeight: number;
  readonly quantizedModules: number;
  /** True for plain weights that were dequantized. */
  readonly isPlain: boolean;
  readonly ignored: readonly string[];
  /** Null for recipes without calibration. */
  readonly calibration: ReportedCalibration | null;
  readonly totals: LossTotals | null;
}

export function modelCard(facts: CardFacts, sourceCard: string | null): string {
  const carried = sourceCard === null ? {} : frontMatter(sourceCard);
  const relation = facts.isPlain ? {} : { base_model_relation: "quantized" };
  const format = facts.isPlain ? [] : ["compressed-tensors"];
  const fields = {
    ...carried,
    ...(facts.repository ? { base_model: [facts.repository], ...relation } : {}),
    tags: [...format, "layerpress", ...facts.schemes.map((scheme) => scheme.toLowerCase())],
  };
  return `---\n${stringify(fields)}---\n\n${body(facts)}`;
}

/** The licence that a model card's front matter names, for the page. */
export function licenseOf(card: string): string | null {
  const { license } = frontMatter(card);
  return typeof license === "string" ? license : null;
}

function frontMatter(card: string): Record<string, unknown> {
  const match = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card);
  const fields = new Map(Object.entries((match?.[1] && readYamlFields(match[1])) || {}));
  return Object.fromEntries(
    CARRIED_FIELDS.filter((name) => fields.has(name)).map((name) => [name, fields.get(name)]),
  );
}

function body(facts: CardFacts): string {
  const of = code(facts.repository ?? facts.sourceName);
  const at = facts.revision ? ` at revision \`${facts.revision}\`` : "";
  const percent = ((100 * facts.resultBytes) / facts.sourceBytes).toFixed(0);
  return `# ${code(facts.name)}, ${facts.schemes.join(" and ")}

${facts.isPlain ? "Dequantized" : "Quantized"} from ${of}${at} with Layerpress, in a browser, one layer at a time.

| | |
| --- | --- |
| scheme | ${facts.schemes.join(", ")} |
${moduleRows(facts)}| size | ${formatBytes(facts.resultBytes)}, ${percent} % of ${formatBytes(facts.sourceBytes)} |
${calibrationRows(facts)}
## Use

With vLLM, in the folder that holds this one:

\`\`\`sh
vllm serve ./<this folder>
\`\`\`

With transformers (\`pip install transformers compressed-tensors\`):

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("./<this folder>", device_map="auto")
tokenizer = AutoTokenizer.from_pretrained("./<this folder>")
\`\`\`

## Recipe

\`\`\`yaml
${facts.recipeYaml.trimEnd()}
\`\`\`
`;
}

/** Rows of the table for what is quantized and what is not; none of plain weights. */
function moduleRows({ isPlain, quantizedModules, ignored, bitsPerWeight }: CardFacts): string {
  if (isPlain) return "";
  const rows = [`| quantized modules | ${quantizedModules} |`];
  if (quantizedModules > 0) rows.push(`| bits per weight in the layers | ${bitsPerWeight.toFixed(2)} |`);
  if (ignored.length > 0) rows.push(`| not quantized | ${listSome(ignored.map(code), 10)} |`);
  return rows.map((row) => `${row}\n`).join("");
}

/** Rows of the table for what calibrated, and how much of rounding's error is left. */
function calibrationRows({ calibration, totals }: CardFacts): string {
  const rows: string[] = [];
  if (calibration)
    rows.push(`| calibrated on | ${calibration.samples} samples, ${calibration.tokens} tokens |`);
  if (totals && totals.rtn_loss > 0) {
    const share = ((100 * totals.loss) / totals.rtn_loss).toFixed(1);
    rows.push(
      `| Hessian-weighted error | ${share} % of rounding to nearest; each module in \`quantization-report.json\` |`,
    );
  }
  return rows.map((row) => `${row}\n`).join("");
}

/** Inline code on one line; a name cannot break out of it. */
export function code(text: string): string {
  return `\`${text.replaceAll("`", "'").replaceAll(/\s+/g, " ")}\``;
}
