const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A positive figure of any magnitude in three digits: "0.0123", "1,230", "4.56 × 10⁻⁷". */
export function formatError(value: number): string {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return "not finite";
  if (value >= 1e-3 && value < 1e6)
    return value.toLocaleString("en", { maximumSignificantDigits: 3, minimumSignificantDigits: 3 });
  const [digits = "", exponent = "0"] = value.toExponential(2).split("e");
  return `${digits} × ${formatPower(Number(exponent))}`;
}

/** "10⁻³" for -3. */
export function formatPower(exponent: number): string {
  const digits = String(Math.abs(exponent)).replaceAll(/\d/g, (digit) => SUPERSCRIPTS.charAt(Number(digit)));
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}
