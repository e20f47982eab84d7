import { readlink, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** How Chromium names the folders of its sockets. */
const SOCKET_FOLDER = /^\.?(org\.chromium\.Chromium|com\.google\.Chrome)\./;

/** A browser that is killed leaves the folder of its socket among temporary files; its profile tells which. Removes that. */
export async function removeSocket(profile: string): Promise<void> {
  const socket = await readlink(join(profile, "SingletonSocket")).catch(() => null);
  const folder = socket === null ? "" : dirname(socket);
  if (SOCKET_FOLDER.test(basename(folder))) await rm(folder, { recursive: true, force: true });
}
