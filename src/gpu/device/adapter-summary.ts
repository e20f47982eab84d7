import type { MatrixShape } from "../matmul/matrix-shape.ts";

export interface AdapterSummary {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** True for a software adapter: correct, but a thousand times slower than a GPU. */
  readonly software: boolean;
  readonly maxBufferBytes: number;
  readonly maxBindingBytes: number;
  readonly features: readonly string[];
  /** What its matrix units multiply, as far as the browser and our product can use them; null for most. */
  readonly matrices: MatrixShape | null;
}
