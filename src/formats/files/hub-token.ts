/** What is said of a text that is no token. */
export const TOKEN_SENTENCE = "A token of the Hub begins with “hf_”. Copy it again from the Hub’s settings.";

/** Whether a text may be a token of the Hub, as its settings show them. */
export function isHubToken(text: string): boolean {
  return /^hf_[\x21-\x7e]{1,1000}$/.test(text);
}
