// Which mappings of a layer a modifier takes: those of the model's family, or those that the recipe names.

import { RecipeError } from "../../errors.ts";
import type { MappingTargets, RewritingModifier } from "../../formats/recipe/recipe.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { layerMappings, type Mapping, sharedValues } from "../../model/mappings.ts";
import { isIgnored } from "./match-targets.ts";
import { createTargetList, type TargetList } from "./target-list.ts";

export interface MappingChooser {
  /** The mappings of a layer, in the order of the forward pass; `quantized` names its Linears that will be quantized. */
  choose(layer: LayerDescription, quantized: ReadonlySet<string>): Mapping[];
  /** @throws RecipeError naming the first mapping of the recipe that no layer has, or saying that the family has none. */
  checkUsed(): void;
}

/** Prepares a modifier's patterns, once for all layers. */
export function createMappingChooser(modifier: RewritingModifier): MappingChooser {
  const named = modifier.mappings?.map(prepareTargets);
  let count = 0;
  return {
    choose(layer, quantized) {
      const exact = layerMappings(layer);
      const chosen = named
        ? exact.filter((mapping) => named.some((targets) => isMeant(mapping, targets, modifier)))
        : exact.filter((mapping) => isUsual(mapping, layer, modifier));
      if (modifier.name === "AWQModifier") named?.forEach((targets) => passOver(targets, layer, modifier));
      const kept = chosen.filter(
        (mapping) => !isLeftOut(mapping, modifier) && isOfUse(mapping, modifier, quantized),
      );
      count += kept.length;
      return kept;
    },
    checkUsed() {
      const unused = named?.find(({ used }) => !used);
      if (unused) throw nothingMatches(modifier, unused.targets);
      if (count > 0) return;
      throw new RecipeError(
        `${modifier.name} finds nothing to do in this model: none of its norms or Linears can hand factors on${modifier.ignore.length > 0 ? ", or all of them are ignored" : modifier.name === "AWQModifier" ? " to Linears that are quantized" : ""}. Leave the modifier out.`,
      );
    },
  };
}

interface PreparedTargets {
  readonly targets: MappingTargets;
  readonly smooth: TargetList<true>;
  readonly balance: TargetList<true>;
  used: boolean;
}

function prepareTargets(targets: MappingTargets): PreparedTargets {
  return {
    targets,
    smooth: createTargetList([[targets.smooth_layer, true]]),
    balance: createTargetList(targets.balance_layers.map((target) => [target, true] as const)),
    used: false,
  };
}

/**
 * True if the recipe's mapping means this one. Routers come along whether or not they are named.
 * @throws RecipeError if only some of the Linears that read the output are named: the others would read what is not theirs.
 */
function isMeant(mapping: Mapping, targets: PreparedTargets, { name }: RewritingModifier): boolean {
  if (targets.smooth.findNamed(mapping.smooth) === null) return false;
  const readers = mapping.balance.filter((linear) => !mapping.carried.includes(linear));
  const missing = readers.filter(({ module }) => targets.balance.findNamed(module) === null);
  if (missing.length === readers.length) return false;
  if (missing.length > 0) {
    throw new RecipeError(
      `${name}: ${mapping.smooth} is read by ${missing[0]?.module} too, which the mapping does not balance, so that the model would compute something else. Add it to balance_layers.`,
    );
  }
  targets.used = true;
  return true;
}

/** Takes a mapping as used that is AWQ's of values to an output, where a value head feeds several: there it is passed over. */
function passOver(targets: PreparedTargets, layer: LayerDescription, modifier: RewritingModifier): void {
  for (const mapping of sharedValues(layer)) isMeant(mapping, targets, modifier);
}

/** AWQ has nothing to search for where no Linear is quantized. */
function isOfUse({ balance }: Mapping, { name }: RewritingModifier, quantized: ReadonlySet<string>): boolean {
  return name !== "AWQModifier" || balance.some(({ module }) => quantized.has(module));
}

/**
 * SmoothQuant takes the norms before mixers and MLPs. One scale for all experts serves the activations of none of them well, so it
 * leaves them alone. AWQ takes all there are but norms before Mamba-2, whose time steps, gates and states share a Linear: factors that
 * suit that Linear's error have a layer of Falcon-H1 lose 1.25 times as much as none.
 */
function isUsual(mapping: Mapping, layer: LayerDescription, { name }: RewritingModifier): boolean {
  switch (name) {
    case "SmoothQuantModifier":
      return (
        mapping.place === "mixer-input" ||
        (mapping.place === "mlp-input" && layer.feedForward?.kind === "mlp")
      );
    case "AWQModifier":
      return mapping.place !== "mixer-input" || layer.mixers.every(({ kind }) => kind !== "mamba-2");
  }
}

function isLeftOut({ smooth, balance }: Mapping, { ignore }: RewritingModifier): boolean {
  return (
    ignore.length > 0 &&
    [smooth, ...balance.map(({ module }) => module)].every((module) => isIgnored(module, ignore))
  );
}

function nothingMatches({ name }: RewritingModifier, targets: MappingTargets): RecipeError {
  return new RecipeError(
    `${name}: the mapping of ${targets.smooth_layer} to ${targets.balance_layers.join(", ")} matches nothing in this model: no such module hands its output to such Linears without something in between that factors cannot pass. Check the patterns, or leave mappings out to take those of the model's family.`,
  );
}
