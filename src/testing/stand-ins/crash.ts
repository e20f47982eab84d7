/** The world has ended: the process was killed in the middle of an operation. */
export class Crash extends Error {
  override readonly name = "Crash";
}
