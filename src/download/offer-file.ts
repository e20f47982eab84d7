/** Time for the browser to take hold of the file; once it has, the URL is not needed any more. */
const URL_LIFE_MS = 60_000;

/**
 * Hands a file to the browser's own downloads. A File of OPFS is copied from disk to disk, without passing through
 * memory. The type keeps the address from ever being shown as a page of this origin.
 */
export function offerFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(new Blob([file], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), URL_LIFE_MS);
}
