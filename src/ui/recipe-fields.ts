import { type Signal, signal } from "@preact/signals";
import type { RecipeChoice } from "../pipeline/api.ts";
import { DEFAULT_SCHEME, findPreset } from "./presets.ts";

/** The recipe controls as they stand, each as the user left it. */
export interface RecipeFields {
  readonly scheme: Signal<string>;
  /** Null keeps the preset's own group size. */
  readonly groupSize: Signal<number | null>;
  /** Modules to leave as they are, as typed: names or `re:` patterns, separated by commas or white space. */
  readonly ignore: Signal<string>;
  /** A recipe in YAML that decides instead of the controls, or null. */
  readonly yaml: Signal<string | null>;
}

export function createRecipeFields(): RecipeFields {
  return {
    scheme: signal(DEFAULT_SCHEME),
    groupSize: signal<number | null>(null),
    ignore: signal("lm_head"),
    yaml: signal<string | null>(null),
  };
}

/** What the controls mean. Reads every signal, so that whatever computes from it follows all of them. */
export function recipeChoice({ scheme, groupSize, ignore, yaml }: RecipeFields): RecipeChoice {
  const controls = {
    kind: "controls",
    scheme: scheme.value,
    group_size: findPreset(scheme.value)?.groupSize === null ? null : groupSize.value,
    ignore: ignore.value.split(/[\s,]+/).filter((name) => name !== ""),
  } as const;
  return yaml.value === null ? controls : { kind: "yaml", text: yaml.value };
}

/** Sets the controls to what an earlier job used. */
export function restoreRecipe(fields: RecipeFields, choice: RecipeChoice): void {
  if (choice.kind === "yaml") {
    fields.yaml.value = choice.text;
    return;
  }
  fields.yaml.value = null;
  fields.scheme.value = choice.scheme.toUpperCase();
  fields.groupSize.value = choice.group_size;
  fields.ignore.value = choice.ignore.join(", ");
}
