import type { JSHandle, Page } from "playwright";

/** A file of this machine as a File of the page, which reads it as it needs it: no bytes go through the protocol. */
export async function giveFile(page: Page, path: string): Promise<JSHandle<File>> {
  const input = await page.evaluateHandle(() => {
    const element = document.createElement("input");
    element.type = "file";
    element.hidden = true;
    document.body.append(element);
    return element;
  });
  await input.setInputFiles(path);
  return await page.evaluateHandle((element) => {
    const [file] = element.files ?? [];
    element.remove();
    if (!file) throw new Error("The page did not get the file.");
    return file;
  }, input);
}
