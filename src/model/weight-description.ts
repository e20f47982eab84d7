// Linears and norms, and where a checkpoint holds their weights.

/** Where the rows of a Linear's weight lie: whole, or a run of rows of a tensor that holds several. */
export interface WeightSource {
  readonly tensor: string;
  /** Shape of that tensor; all but its last dimension, multiplied, are its rows. */
  readonly shape: readonly number[];
  /** First of the Linear's rows, with the leading dimensions flattened; of a matrix that lies turned over, its first. */
  readonly firstRow: number;
  /** Set where inputs come before outputs: row r is column `firstColumn` + r · `step` of the matrix (columns, shape's last). */
  readonly turned?: { readonly firstColumn: number; readonly step: number };
}

/** Where in a tensor of several biases a Linear's values lie. */
export interface BiasPlace {
  readonly shape: readonly number[];
  /** First of the values, with all dimensions flattened, and how far apart they are. */
  readonly first: number;
  readonly step: number;
}

/** y = x Wᵀ + b with W (rows, columns). */
export interface Linear {
  /** Module name: what targets and ignore match, and what the result's tensors are named after. */
  readonly module: string;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** Tensor of the bias, or null. */
  readonly bias: string | null;
  /** Absent where the bias is the whole tensor. */
  readonly biasPlace?: BiasPlace;
  readonly source: WeightSource;
}

/**
 * x / rms(x) · w ("rms") or (x − mean) / deviation · w + b ("layer"), over groups of `size` neighbouring values; the
 * group's weights are the vector's values at the same place modulo `weightSize`.
 */
export interface Norm {
  readonly kind: "rms" | "layer";
  readonly size: number;
  readonly eps: number;
  /** Tensor of the weight; null where there is none and all are 1. */
  readonly weight: string | null;
  /** Values of the weight tensor, flattened: `size`, or more where each head has its own. */
  readonly weightSize: number;
  /** Added to the weight before it is used: 1 where checkpoints hold w − 1 (Gemma). */
  readonly weightOffset: 0 | 1;
  /** Tensor of the bias, or null. */
  readonly bias: string | null;
}
