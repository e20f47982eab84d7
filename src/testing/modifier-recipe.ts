/** A recipe in YAML with one modifier, of which this is the body. */
export function modifierRecipe(body: string, name = "QuantizationModifier"): string {
  const lines = body.trimEnd().split("\n");
  return `quant_stage:\n  quant_modifiers:\n    ${name}:\n${lines.map((line) => `      ${line}`).join("\n")}\n`;
}
