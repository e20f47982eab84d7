import { readYamlFields } from "../formats/text/bounded-yaml.ts";

/** Where a card tells to load the folder that it lies in. */
const FOLDER = "./<this folder>";
const RECIPE = /^## Recipe$/m;

export interface HashedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** A result's model card as it stands in a repository: loaded by the repository's name, with the hashes of its weights. */
export function publishedCard(card: string, repository: string, files: readonly HashedFile[]): string {
  const loaded = card
    .replace("With vLLM, in the folder that holds this one:", "With vLLM:")
    .replaceAll(FOLDER, repository);
  const weights = files.filter(({ path }) => path.endsWith(".safetensors"));
  const rows = weights.map(({ path, sha256 }) => `| \`${path}\` | \`${sha256}\` |`).join("\n");
  const section = `## Hashes

| | SHA-256 |
| --- | --- |
${rows}

Those of all files, and what they were made of and by, are in \`receipt.json\`; with it the result can be made again and compared.

`;
  const at = loaded.search(RECIPE);
  return at < 0 ? `${loaded.trimEnd()}\n\n${section}` : loaded.slice(0, at) + section + loaded.slice(at);
}

/** What a card's front matter says of the licence: its name where it has one of its own. */
export function carriedLicense(card: string): string | null {
  const [, text] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card) ?? [];
  const { license, license_name: name } = (text !== undefined && readYamlFields(text)) || {};
  const shown = license === "other" && typeof name === "string" ? name : license;
  return typeof shown === "string" ? shown : null;
}
