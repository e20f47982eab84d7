// Sentences of the page about folders of this machine that a command serves to it: nobody has named the address.

/** What a command serves: the server's host with its port, and the folders by their paths there. */
export interface ServedFolders {
  readonly host: string;
  readonly folders: ReadonlyMap<string, string>;
}

/** The sentence with the names of folders in place of where they are served. */
export function inOwnNames(sentence: string, { host, folders }: ServedFolders): string {
  let told = sentence;
  for (const [path, folder] of folders) told = told.replaceAll(`${host}/${path}`, folder);
  const [only, ...more] = folders.values();
  return told.replaceAll(host, only !== undefined && more.length === 0 ? only : "this machine");
}
