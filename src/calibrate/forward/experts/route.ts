// Kernels of mixtures of experts: choosing, gathering tokens, adding weighted outputs.

import { invariant } from "../../../errors.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import type { Matrix } from "../../../gpu/matmul/matmul.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Routing } from "../../../model/decoder-description.ts";
import type { Activations } from "../layer-weights.ts";
import addWeightedCode from "./add-weighted.wgsl?raw";
import gatherRowsCode from "./gather-rows.wgsl?raw";
import routeCode from "./route.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

/** As route.wgsl numbers them. */
const SCORING_CODE = { softmax: 0, sigmoid: 1, sparsemixer: 2 } as const;
/** Groups are bits of a word. */
const MAX_GROUPS = 32;

export const routeKernel = kernel({
  name: "forward.route",
  code: [routeCode],
  params: struct({
    experts: "u32",
    stride: "u32",
    top_k: "u32",
    groups: "u32",
    kept_groups: "u32",
    first: "u32",
    end: "u32",
    scale: "f32",
    jitter: "f32",
  }),
  bindings: { logits: "read", correction: "read", scales: "read", routes: "read_write" },
  constants: ["SCORING", "CORRECTED", "GROUPED", "BEST_TWO", "NORMALIZED", "SCALED"],
});

/** One value an expert each; null where the routing has none. */
export interface RoutingVectors {
  readonly correction: BufferPart | null;
  readonly scales: BufferPart | null;
}

/**
 * Chooses each token's experts from the router's logits: `routes` becomes (tokens, topK) pairs of an expert's index
 * and the bits of its float32 weight, best first. `vectors` are those of the routing's tensors.
 */
export async function route(
  gpu: Gpu,
  routing: Routing,
  logits: Activations,
  { correction, scales }: RoutingVectors,
  routes: BufferPart,
): Promise<void> {
  const { topK, scoring, groups, normalizeTopK, scale } = routing;
  const { rows, columns, stride } = logits;
  invariant((groups?.count ?? 0) <= MAX_GROUPS, "groups of experts are bits of a word");
  const work = columns * (topK + 2);
  const constants = {
    SCORING: SCORING_CODE[typeof scoring === "string" ? scoring : scoring.kind],
    CORRECTED: Number(correction !== null),
    GROUPED: Number(groups !== null),
    BEST_TWO: Number(groups?.by === "best-two"),
    NORMALIZED: Number(normalizeTopK),
    SCALED: Number(scales !== null),
  };
  for (const { first, end } of gpu.queue.split(routeKernel, rows, work, WORKGROUP)) {
    await gpu.queue.run(routeKernel, {
      params: {
        experts: columns,
        stride,
        top_k: topK,
        groups: groups?.count ?? 1,
        kept_groups: groups?.kept ?? 1,
        first,
        end,
        scale,
        jitter: typeof scoring === "string" ? 0 : scoring.jitter,
      },
      // A binding that is not read still needs a buffer.
      buffers: {
        logits: logits.buffer,
        correction: correction ?? logits.buffer,
        scales: scales ?? logits.buffer,
        routes,
      },
      constants,
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * work,
    });
  }
}

/** The tokens of one expert: entries [firstEntry, firstEntry + tokens) of the order, each token · topK + choice. */
export interface ExpertTokens {
  readonly order: BufferPart;
  readonly firstEntry: number;
  readonly tokens: number;
  readonly topK: number;
}

export const gatherRowsKernel = kernel({
  name: "forward.gather-rows",
  code: [gatherRowsCode],
  params: struct({
    columns: "u32",
    x_offset: "u32",
    top_k: "u32",
    first_entry: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { order: "read", routes: "read", x: "read", y: "read_write" },
  constants: ["WEIGHED"],
});

/**
 * y = the expert's rows of x, both without gaps; `columns` is a multiple of 4. With `routes` each is multiplied by its
 * weight.
 */
export async function gatherRows(
  gpu: Gpu,
  { order, firstEntry, tokens, topK }: ExpertTokens,
  x: Activations,
  y: BufferPart,
  routes: BufferPart | null = null,
): Promise<void> {
  const columns = x.columns / LANES;
  for (const { first, end } of gpu.queue.split(gatherRowsKernel, tokens * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(gatherRowsKernel, {
      params: {
        columns,
        x_offset: (x.offset ?? 0) / LANES,
        top_k: topK,
        first_entry: firstEntry,
        first,
        end,
      },
      buffers: { order, routes: routes ?? order, x: x.buffer, y },
      constants: { WEIGHED: Number(routes !== null) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}

export const addWeightedKernel = kernel({
  name: "forward.add-weighted",
  code: [addWeightedCode],
  params: struct({
    columns: "u32",
    y_offset: "u32",
    expert: "u32",
    top_k: "u32",
    first_entry: "u32",
    first: "u32",
    end: "u32",
    scale: "f32",
  }),
  bindings: { order: "read", weights: "read", x: "read", y: "read_write" },
  constants: ["WEIGHTS"],
});

/** Where the weights of an expert's output come from; as add-weighted.wgsl numbers them. */
export type OutputWeights =
  /** x holds the expert's tokens. */
  | { readonly kind: "routed"; readonly routes: BufferPart; readonly tokens: ExpertTokens }
  /** The same, with weights of one. */
  | { readonly kind: "unweighed"; readonly tokens: ExpertTokens }
  /** x holds all tokens; those that are routed elsewhere add nothing. */
  | {
      readonly kind: "searched";
      readonly routes: BufferPart;
      readonly expert: number;
      readonly topK: number;
    }
  /** x holds all tokens; their weights are the sigmoid of a column of logits. */
  | { readonly kind: "gated"; readonly logits: Matrix };

/** y += scale · weight · x, row by row; both without gaps, columns a multiple of 4. */
export async function addWeighted(
  gpu: Gpu,
  weights: OutputWeights,
  x: Activations,
  y: Matrix,
  scale: number,
): Promise<void> {
  const columns = x.columns / LANES;
  const { constant, source, order, ...params } = weightParams(weights);
  for (const { first, end } of gpu.queue.split(addWeightedKernel, x.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(addWeightedKernel, {
      params: { ...params, columns, y_offset: (y.offset ?? 0) / LANES, first, end, scale },
      buffers: { order, weights: source, x: x.buffer, y: y.buffer },
      constants: { WEIGHTS: constant },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}

/** A binding that is not read still needs a buffer: the weights are read-only like the order. */
function weightParams(weights: OutputWeights) {
  switch (weights.kind) {
    case "routed": {
      const { order, firstEntry, topK } = weights.tokens;
      return { constant: 0, source: weights.routes, order, expert: 0, top_k: topK, first_entry: firstEntry };
    }
    case "unweighed": {
      const { order, firstEntry, topK } = weights.tokens;
      return { constant: 3, source: order, order, expert: 0, top_k: topK, first_entry: firstEntry };
    }
    case "searched": {
      const { routes, expert, topK } = weights;
      return { constant: 1, source: routes, order: routes, expert, top_k: topK, first_entry: 0 };
    }
    case "gated": {
      const { buffer, stride } = weights.logits;
      return { constant: 2, source: buffer, order: buffer, expert: 0, top_k: stride, first_entry: 0 };
    }
  }
}
