// What the pieces of a job cost that can be done apart, in seconds of a GPU of a data centre: jobs are divided over such ones, and
// what cuts go by is how the phases compare, and how they compare with the bytes that move.

import type { LayerCost, PartCosts } from "../../api/compressor-api.ts";
import { decoderLayers } from "../../plan/checkpoint/decoder-layers.ts";
import type { LayerWork } from "../calibration/costs/calibration-work.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import type { PlannedStep } from "./planned-step.ts";
import { sumOfPhases } from "./plan-time.ts";
import { dependence } from "./take-part.ts";
import { mostShares } from "./take-share.ts";

/**
 * Operations per second of each phase with an H200, in layers of the shape of Llama 3.1 8B: bench/results/README.md, "In the
 * application"; calibrating on matrix units since Hessians are summed there, too: docs/cluster.md, 16 layers in 33 s. The choice of
 * codes is mostly steps that wait for each other.
 */
const FLOAT32_RATES: LayerWork = { calibrating: 41e12, quantizing: 6e12, propagating: 35e12 };
const MATRIX_UNIT_RATES: LayerWork = { calibrating: 75e12, quantizing: 6e12, propagating: 72e12 };
/** What a browser's storage takes of a layer that comes over a fast network. */
const SOURCE_BYTES_PER_SECOND = 300e6;

/**
 * What each layer of a planned job costs, and what belongs to none.
 * @param hasMatrixUnits true if forward products can run on them
 */
export function partCosts(plan: CompressionPlan, hasMatrixUnits: boolean): PartCosts {
  const { steps, calibration } = plan;
  const names = new Set(decoderLayers(steps));
  const takesUnits = hasMatrixUnits && calibration?.options.forward_products === "AUTO";
  const rates = takesUnits ? MATRIX_UNIT_RATES : FLOAT32_RATES;
  const outside = steps.filter(({ name }) => !names.has(name));
  const heads = outside.filter(({ calibrated }) => calibrated !== null).map((step) => layerCost(step, rates));
  const rest = outside.filter(({ calibrated }) => calibrated === null);
  const layers = steps.filter(({ name }) => names.has(name)).map((step) => layerCost(step, rates));
  return {
    layers: layers.map((cost, index) => (index === layers.length - 1 ? heads.reduce(withHead, cost) : cost)),
    restBytes: rest.reduce((sum, { bytes }) => sum + bytes, 0),
    batches: calibration?.plan.batches.length ?? 0,
    statesBytes: calibration?.plan.hiddenBytes ?? 0,
    dependence: dependence(plan),
    shares: mostShares(plan),
  };
}

/** The last layer with the head that samples come to behind it: whoever does the one does the other. */
function withHead(layer: LayerCost, head: LayerCost): LayerCost {
  return {
    ...layer,
    bytes: layer.bytes + head.bytes,
    operations: layer.operations + head.operations,
    seconds: layer.seconds + head.seconds,
    lastSeconds: layer.seconds + head.lastSeconds,
  };
}

/** A layer that comes more slowly than it is computed takes as long as it comes. */
function layerCost({ name, bytes, calibrated }: PlannedStep, rates: LayerWork): LayerCost {
  const coming = bytes / SOURCE_BYTES_PER_SECOND;
  if (!calibrated)
    return {
      name,
      bytes,
      operations: 0,
      seconds: coming,
      lastSeconds: coming,
      passedSeconds: 0,
      comingSeconds: coming,
    };
  const { work, lastWork, passingWork } = calibrated;
  return {
    name,
    bytes,
    operations: sumOfPhases(work),
    seconds: Math.max(secondsOf(work, rates), coming),
    lastSeconds: Math.max(secondsOf(lastWork, rates), coming),
    passedSeconds: Math.max(passingWork / rates.propagating, coming),
    comingSeconds: coming,
  };
}

function secondsOf({ calibrating, quantizing, propagating }: LayerWork, rates: LayerWork): number {
  return calibrating / rates.calibrating + quantizing / rates.quantizing + propagating / rates.propagating;
}
