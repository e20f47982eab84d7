// Which weights belong to nn.Linear, by architecture: linear-table.json holds what transformers' own module classes say
// (scripts/make_linear_table.py). A checkpoint has names and shapes alone, and names mislead: LFM2's convolution block holds
// Linears, GPT-2's Linears lie turned over, GPT-NeoX calls its output head embed_out.

import table from "./linear-table.json" with { type: "json" };

/**
 * What a weight of two dimensions is: of an nn.Linear; of an nn.Embedding; "turned" with inputs before outputs (Conv1D);
 * "converted", which loading splits or joins with others; "other" for routers and the like.
 */
export type WeightClass = "linear" | "embedding" | "turned" | "converted" | "other";

export interface LinearClasses {
  /** False if a model type of config.json is not in the table: then names decide about what the table does not know. */
  readonly complete: boolean;
  /** Null if the table does not know the module. */
  classOf(module: string): WeightClass | null;
  /** What transformers calls the modules that a module of the files becomes: mostly the same name alone. */
  loadedAs(module: string): readonly string[];
  /** Linears that the files leave out where they share the embedding's weight. */
  readonly heads: readonly string[];
  /**
   * True of a Linear whose weight transformers' classes ask for while they load, as if each had one of that name: packed, the
   * model does not open.
   */
  asksFor(module: string): boolean;
  /** How transformers loads experts, by the model type that says so; null where each is a Linear, or nothing is known. */
  readonly experts: ExpertLoading | null;
}

export interface ExpertLoading {
  readonly modelType: string;
  /** "merged": one tensor is made of those of single experts; "fused": files hold one tensor, and single ones are not looked for. */
  readonly how: "merged" | "fused";
}

interface Entry {
  readonly classes: ReadonlyMap<string, WeightClass>;
  readonly converted: ReadonlyMap<string, readonly string[]>;
  readonly modules: ReadonlyMap<string, string>;
  readonly heads: readonly string[];
  readonly experts: ExpertLoading["how"] | null;
  /** Ends of names of the Linears that are asked for their weight; "*" is all. */
  readonly asked: ReadonlySet<string>;
}

/** The release of transformers that the table tells of. */
export const TRANSFORMERS = table.transformers;

/** Configurations are nested in configurations, though not deeply. */
const MAX_DEPTH = 4;
const MAX_TYPES = 32;
/** Parts of an expert whose Linears some files hold in one tensor: every loader of quantized models has them as Linears. */
const EXPERT = /\.experts\.\d+\.(gate_proj|up_proj|down_proj|w1|w2|w3)$/;
const USUAL_HEADS = ["lm_head"];

/** A name that this many types use for weights of one class, and none for another, means that class elsewhere too. */
const COMMON_TYPES = 5;

const entries = new Map<string, Entry>();
/** Last parts of names that are common, and their class. */
const common = new Map<string, WeightClass>();

/** The table's word about the model that a config.json describes, parts of multimodal models included. */
export function linearClasses(config: Readonly<Record<string, unknown>>): LinearClasses {
  const types = modelTypes(config);
  const known = types.map(entryOf).filter((entry) => entry !== null);
  const [own] = known;
  return {
    complete: types.length > 0 && known.length === types.length,
    heads: own?.heads ?? USUAL_HEADS,
    experts: expertLoading(types),
    classOf(module) {
      if (EXPERT.test(module)) return "linear";
      const parts = starred(module).split(".");
      for (const { classes, converted } of known) {
        if (converted.has(parts.join("."))) return "converted";
        const found = longestEnd(parts, classes);
        if (found) return found;
      }
      return known.length > 0 ? (common.get(parts.at(-1) ?? "") ?? null) : null;
    },
    loadedAs: (module) => (own ? loadedAs(module, own) : [module]),
    asksFor: (module) => own !== undefined && loadedAs(module, own).some((name) => isAsked(name, own)),
  };
}

/** Of a config.json without a model type: names decide about everything. */
export const NAMES_ALONE: LinearClasses = linearClasses({});

/** model_type of the configuration, then of those that are nested in it. */
function modelTypes(config: Readonly<Record<string, unknown>>, depth = 0): string[] {
  const { model_type: own } = config;
  const nested = Object.values(config).filter(isRecord);
  const inner = depth < MAX_DEPTH ? nested.flatMap((part) => modelTypes(part, depth + 1)) : [];
  return [...new Set([...(typeof own === "string" && own ? [own] : []), ...inner])].slice(0, MAX_TYPES);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The outermost type decides: its rules of loading are those of the whole model. */
function expertLoading(types: readonly string[]): ExpertLoading | null {
  for (const modelType of types) {
    const how = entryOf(modelType)?.experts;
    if (how) return { modelType, how };
  }
  return null;
}

function entryOf(type: string): Entry | null {
  if (entries.size === 0) readTable();
  return entries.get(type) ?? null;
}

type Row = { readonly types: string } & Partial<
  Readonly<Record<"linear" | "embedding" | "turned" | "other" | "heads" | "experts" | "asked", string>>
> & { readonly converted?: object; readonly modules?: object };

/** Options that no default configuration has bring modules of other families, such as attention into Mamba's stack. */
function readTable(): void {
  for (const row of table.entries) addRow(row);
  const found = new Map<string, { readonly kinds: Set<WeightClass>; types: number }>();
  for (const { classes } of entries.values()) {
    for (const [end, kind] of classes) {
      const last = end.slice(end.lastIndexOf(".") + 1);
      const seen = found.get(last) ?? { kinds: new Set(), types: 0 };
      found.set(last, seen);
      seen.kinds.add(kind);
      seen.types += 1;
    }
  }
  for (const [last, { kinds, types }] of found) {
    const [kind] = kinds;
    if (kind && kinds.size === 1 && types >= COMMON_TYPES) common.set(last, kind);
  }
}

function words(text = ""): string[] {
  return text.split(" ").filter(Boolean);
}

function addRow(row: Row): void {
  const kinds = ["linear", "embedding", "turned", "other"] as const;
  const entry: Entry = {
    classes: new Map(kinds.flatMap((kind) => words(row[kind]).map((end) => [end, kind] as const))),
    converted: new Map(
      Object.entries(row.converted ?? {}).map(([from, to]) => [from, words(String(to))] as const),
    ),
    modules: new Map(Object.entries(row.modules ?? {}).map(([from, to]) => [from, String(to)] as const)),
    heads: words(row.heads),
    experts: row.experts === "fused" || row.experts === "merged" ? row.experts : null,
    asked: new Set(words(row.asked)),
  };
  for (const type of words(row.types)) entries.set(type, entry);
}

/** "model.layers.*.mlp.up_proj" for "model.layers.3.mlp.up_proj". */
function starred(module: string): string {
  return module.replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "*");
}

function longestEnd(parts: readonly string[], classes: ReadonlyMap<string, WeightClass>): WeightClass | null {
  for (let first = 0; first < parts.length; first++) {
    const found = classes.get(parts.slice(first).join("."));
    if (found) return found;
  }
  return null;
}

function isAsked(module: string, { asked }: Entry): boolean {
  const parts = starred(module).split(".");
  return asked.has("*") || parts.some((_, first) => asked.has(parts.slice(first).join(".")));
}

/** The longest known beginning is replaced; numbers go where the stars are, in order. */
function loadedAs(module: string, { converted, modules }: Entry): readonly string[] {
  const numbers = module.split(".").filter((part) => /^\d+$/.test(part));
  const pattern = starred(module);
  const becomes = converted.get(pattern);
  if (becomes) return becomes.map((target) => withNumbers(target, numbers));
  const parts = module.split(".");
  for (let length = parts.length; length > 0; length--) {
    const exact = parts.slice(0, length).join(".");
    const known = modules.get(exact) ?? modules.get(starred(exact));
    if (known === undefined) continue;
    // Named as the loader does already, by a file that transformers 5 wrote.
    if (known.startsWith(`${exact}.`) && module.startsWith(`${known}.`)) return [module];
    const own = parts.slice(0, length).filter((part) => /^\d+$/.test(part));
    return [[withNumbers(known, own), ...parts.slice(length)].filter(Boolean).join(".")];
  }
  return [module];
}

function withNumbers(pattern: string, numbers: readonly string[]): string {
  let next = 0;
  return pattern.replaceAll("*", () => numbers[next++] ?? "*");
}
