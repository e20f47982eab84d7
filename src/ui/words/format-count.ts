const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** Counts as model names write them: 8030261248 becomes "8.03 B". */
export function formatCount(count: number): string {
  return compact.format(count).replace(/(?=[A-Z])/, " ");
}

/** A share for people: 0.3712 becomes "37 %". Not above 99 % before it is whole. */
export function formatPercent(share: number): string {
  const percent = Math.max(0, share) * 100;
  return `${percent > 99 && percent < 100 ? 99 : Math.round(percent)} %`;
}
