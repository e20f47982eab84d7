/**
 * Fixtures that onnxruntime-web runs on WebGPU, too: each operator of any family's graphs occurs in one of them, and formulas are
 * the graph's, whichever provider runs it.
 */
export const WEBGPU_FAMILIES = ["apertus", "falcon-h1", "gemma2", "gemma4", "phimoe", "qwen3-next"];
