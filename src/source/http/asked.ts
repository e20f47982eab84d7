/** One request, for the one who sends it and for those who tell what became of it. */
export interface Asked {
  readonly url: string;
  /** The file or list, for sentences. */
  readonly what: string;
  readonly headers?: Readonly<Record<string, string>>;
}
