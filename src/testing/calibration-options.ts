import type { CalibrationOptions } from "../api/job-options.ts";

/** Options of a calibration on two short samples, for tests that ask for nothing else. */
export const CALIBRATION_OPTIONS: CalibrationOptions = {
  source: { kind: "model" },
  num_calibration_samples: 2,
  max_seq_length: 64,
  shuffle_calibration_samples: false,
  seed: 0,
  hidden_states_dtype: "F32",
  forward_products: "AUTO",
  propagate_error: true,
  moe_calibrate_all_experts: true,
  moe_min_tokens_per_expert: 64,
};
