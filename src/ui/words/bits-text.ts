/** What the figure is called wherever it stands. */
export const BITS_NAME = "bits per weight in the layers";

/** What it counts, as a sentence. */
export const BITS_SENTENCE =
  "Bits per weight count every matrix in the layers with its scales, quantized or not; the embedding and the output head count only if they are quantized.";

/** "4.13 bits per weight in the layers" */
export function bitsText(bits: number): string {
  return `${bits.toFixed(2)} ${BITS_NAME}`;
}
