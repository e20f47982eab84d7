// File names from outside become storage keys, zip entries and files on real disks: only plain ones are let in.

const MAX_PATH_LENGTH = 255;
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** True for a relative path of plain names: no way out of the folder, nothing that a file system reads specially. */
export function isSafePath(path: string): boolean {
  return path.length <= MAX_PATH_LENGTH && path.split("/").every(isSafeName);
}

function isSafeName(name: string): boolean {
  return /^[A-Za-z0-9._-]*[A-Za-z0-9_-]$/.test(name) && !WINDOWS_DEVICE.test(name);
}
