// Python's strftime for English, as far as chat templates use it to write today's date.

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Writes a date, local time; directives that are not known stay as they are. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, minus: string, directive: string) => {
    const two = (value: number) => (minus ? String(value) : String(value).padStart(2, "0"));
    const month = MONTHS[date.getMonth()] ?? "";
    const day = DAYS[date.getDay()] ?? "";
    const written: Readonly<Record<string, string>> = {
      Y: String(date.getFullYear()),
      y: two(date.getFullYear() % 100),
      m: two(date.getMonth() + 1),
      d: two(date.getDate()),
      H: two(date.getHours()),
      I: two(date.getHours() % 12 || 12),
      M: two(date.getMinutes()),
      S: two(date.getSeconds()),
      p: date.getHours() < 12 ? "AM" : "PM",
      B: month,
      b: month.slice(0, 3),
      A: day,
      a: day.slice(0, 3),
      "%": "%",
    };
    return written[directive] ?? whole;
  });
}
