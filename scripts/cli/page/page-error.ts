/** What an error of the page is, as it crosses to a command. */
export interface PageFailure {
  readonly name: string;
  readonly message: string;
}

/** An error of the page with its name and sentence, without the page's stack. */
export function pageError({ name, message }: PageFailure): Error {
  return Object.assign(new Error(message), { name });
}
