// File names from outside become storage keys, zip entries and files on real disks: only plain ones are let out. What is only read
// may have other names, as long as they cannot lead out of the folder.

const MAX_PATH_LENGTH = 255;
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
/** What file systems or addresses read specially, and what cannot be seen: controls, and marks that turn text around. */
const UNREADABLE = /[\\:*?"<>|\p{C}\p{Zl}\p{Zp}]/u;

/** True for a relative path of plain names: no way out of the folder, nothing that a file system reads specially. */
export function isSafePath(path: string): boolean {
  return path.length <= MAX_PATH_LENGTH && path.split("/").every(isSafeName);
}

function isSafeName(name: string): boolean {
  return /^[A-Za-z0-9._-]*[A-Za-z0-9_-]$/.test(name) && !WINDOWS_DEVICE.test(name);
}

/** True for a relative path that can be read from a source: blanks, plus signs, brackets and letters of any script too. */
export function isSourcePath(path: string): boolean {
  return path.length <= MAX_PATH_LENGTH && path.split("/").every(isSourceName);
}

function isSourceName(name: string): boolean {
  return name !== "" && name.trim() === name && name !== "." && name !== ".." && !UNREADABLE.test(name);
}

/** The path as a part of an address: "+" and brackets mean something there. */
export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
