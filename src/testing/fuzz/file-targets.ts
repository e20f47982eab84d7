// What is fuzzed beside models: the programs and files that come along with text, and the journal that a crash leaves behind.

import * as fc from "fast-check";
import { gzipSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { parseSamples } from "../../calibrate/samples/parse-samples.ts";
import { loadTokenizer } from "../../model/tokenizer/tokenizer.ts";
import { parseJournal } from "../../offload/journal.ts";
import { damaged, damagedBytes, values } from "./arbitraries.ts";
import { type FuzzTarget, target } from "./fuzz-target.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A tokenizer in the form of GPT-2's, small; each of its parts may be anything. */
const PARTS: Readonly<Record<string, unknown>> = {
  version: "1.0",
  added_tokens: [{ id: 0, content: "<s>", special: true, lstrip: false, rstrip: false, normalized: false }],
  normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Lowercase" }] },
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
  post_processor: { type: "ByteLevel", trim_offsets: false },
  decoder: { type: "ByteLevel" },
};
const MODEL: Readonly<Record<string, unknown>> = {
  type: "BPE",
  vocab: { "<s>": 0, a: 1, b: 2, c: 3, Ġ: 4, ab: 5 },
  merges: ["a b"],
  unk_token: "<s>",
  byte_fallback: false,
};

/** One of a record's fields changed, or none. */
function altered(record: Readonly<Record<string, unknown>>): fc.Arbitrary<Record<string, unknown>> {
  const change = fc.tuple(fc.constantFrom(...Object.keys(record)), values);
  return fc.option(change).map((made) => ({ ...record, ...(made ? { [made[0]]: made[1] } : {}) }));
}

const tokenizers = damaged(
  fc.tuple(altered(PARTS), altered(MODEL)).map(([parts, model]) => JSON.stringify({ ...parts, model })),
);

/** A template out of the pieces that templates are made of. */
const templates = fc
  .array(
    fc.constantFrom(
      "{% for m in messages %}", "{% endfor %}", "{% if m %}", "{% elif loop.first %}", "{% else %}", "{% endif %}",
      "{{ m.content }}", "{{ m['role'] | upper }}", "{{ messages[0].content[1:] }}", "{% set x = namespace(a=1) %}",
      "{% set x.a = x.a + 1 %}", "{{ bos_token }}", "{{ raise_exception('no') }}", "{{ tools | tojson }}", "{{ x.a / 0 }}",
      "{% macro f(a, b=2) %}", "{% endmacro %}", "{{ f(1) }}", "{{ range(3) | list }}", "{{ messages | map('x') | join }}",
      "{%- generation %}", "{% endgeneration %}", "{{ undefined_name.b.c }}", "{{ 'a' * 9 }}", "{{ -m }}", "{#", "#}", "{{", "%}", " text ",
    ), // prettier-ignore
    { maxLength: 30 },
  )
  .map((parts) => parts.join(""));

function useTokenizer(tokenizerJson: string, template: string | null): void {
  const tokenizer = loadTokenizer({
    tokenizerJson: bytesOf(tokenizerJson),
    tokenizerConfig: null,
    chatTemplates: new Map(template === null ? [] : [["default", bytesOf(template)]]),
    processorTemplate: null,
  });
  const ids = tokenizer.encode("ab Abc <s>\u{1f600} \ud800");
  tokenizer.decode(ids, true);
  tokenizer.decode(Uint32Array.of(0, 5, 2 ** 32 - 1));
  if (template === null) return;
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: [{ type: "text" as const, text: "b" }] },
  ];
  tokenizer.encodeChat({ messages, tools: null }, true);
}

const WHOLE = JSON.stringify({ ...PARTS, model: MODEL });
const PARQUETS = ["chats", "ids", "text"].map((name) =>
  readFileSync(`src/calibrate/samples/fixtures/${name}.parquet`),
);
const GZIPPED = ['{"text": "a b c"}\n', "[[1, 2, 3]]", "a\n\nb"].map((text) => gzipSync(text));
const JOURNAL = bytesOf(
  '{"type":"job","jobId":"a","bytes":12}\n{"type":"step","index":0,"name":"model.layers.0"}\n{"type":"done"}\n',
);

export const FILE_TARGETS: readonly FuzzTarget[] = [
  target("tokenizer", tokenizers, (json) => useTokenizer(json, null)),
  target("chat template", damaged(templates), (template) => useTokenizer(WHOLE, template)),
  target("Parquet", damagedBytes(PARQUETS), async (bytes) => await parseSamples("a.parquet", bytes)),
  target("gzip", damagedBytes(GZIPPED), async (bytes) => await parseSamples("a.jsonl.gz", bytes)),
  target("journal", damagedBytes([JOURNAL]), (bytes) => {
    const { records, validBytes } = parseJournal(bytes);
    const again = parseJournal(bytes.subarray(0, validBytes));
    if (again.records.length !== records.length || again.validBytes !== validBytes)
      throw new Error("what is kept of a journal reads otherwise than it did");
  }),
];
