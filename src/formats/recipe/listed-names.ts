/** Names and patterns between commas; commas in braces are of a pattern: "a,re:.*(q|k){1,2}". Null stays null. */
export function listedNames(text: string | null): string[] | null {
  if (text === null) return null;
  return text
    .split(/,(?![^{}]*\})/)
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
