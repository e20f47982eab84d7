// What a modifier targets and ignores, as a recipe writes it.

import { checkPatterns } from "./parse-rewriter.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import type { ParsedModifier } from "./recipe-schema.ts";

type Path = readonly string[];

/**
 * Every entry of a modifier's lists has to be a name or a pattern, and every list has to be about something.
 * @throws RecipeError
 */
export function checkTargets(document: RecipeDocument, path: Path, parsed: ParsedModifier): void {
  const places: [Path, readonly string[]][] = [
    [[...path, "ignore"], parsed.ignore],
    [[...path, "targets"], parsed.targets],
    ...Object.entries(parsed.config_groups ?? {}).map(([name, { targets }]): [Path, readonly string[]] => [
      [...path, "config_groups", name, "targets"],
      targets,
    ]),
    ...(typeof parsed.scheme === "object" && parsed.scheme
      ? Object.entries(parsed.scheme).map(([name, targets]): [Path, readonly string[]] => [
          [...path, "scheme", name],
          targets,
        ])
      : []),
  ];
  for (const [place, targets] of places) checkPatterns(document, place, targets);
  checkOwnTargets(document, path, parsed);
}

/**
 * The modifier's own targets belong to a scheme of one word; groups have theirs.
 * @throws RecipeError for any but the default, which LLM Compressor writes beside groups, or the targets of all groups
 */
function checkOwnTargets(document: RecipeDocument, path: Path, parsed: ParsedModifier): void {
  const { scheme, config_groups, targets } = parsed;
  const grouped =
    scheme && typeof scheme === "object"
      ? Object.values(scheme).flat()
      : Object.values(config_groups ?? {}).flatMap((group) => group.targets);
  if (typeof scheme === "string" || grouped.length === 0) return;
  const own = new Set(targets);
  const isDefault = own.size === 1 && own.has("Linear");
  if (isDefault || (own.size === new Set(grouped).size && grouped.every((target) => own.has(target)))) return;
  throw document.errorAt(
    [...path, "targets"],
    `${scheme ? "The presets of scheme" : "config_groups"} have targets of their own, so that these would change nothing: leave them out`,
  );
}
