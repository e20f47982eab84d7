/** A name that the Hub takes for a repository. */
const NAME = /^(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,94}[A-Za-z0-9_]$|^[A-Za-z0-9_]$/;

/** Why a repository cannot be called so, as a sentence, or null. */
export function nameProblem(name: string): string | null {
  if (NAME.test(name) && !name.endsWith(".git")) return null;
  return "A repository’s name has letters, digits, “-”, “_” and “.”, 96 at most; it begins and ends with a letter or digit and has no “--” or “..”.";
}
