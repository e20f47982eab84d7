/** What a recipe of controls leaves as it is where nothing else is said: LLM Compressor's examples do. */
export const DEFAULT_IGNORE: readonly string[] = ["lm_head"];
