// Runs around every test in a browser: what a test allocates on the GPU it gives back, so that no test sees another's.

import { afterEach, beforeEach } from "vitest";
import { liveBuffers } from "./open-test-gpu.ts";

const live = () => JSON.stringify(liveBuffers());
let before = live();

beforeEach(() => {
  before = live();
});

afterEach(() => {
  const after = live();
  if (after !== before) throw new Error(`Before the test ${before} lay on the GPU, and now ${after}.`);
});
