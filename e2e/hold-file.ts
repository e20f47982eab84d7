import type { Page } from "@playwright/test";

/** The sample's: its last layer's. */
export const LAST_FILE = "model-00003-of-00003.safetensors";

/**
 * Keeps a file from the page until it is released: a job that needs it does not end before.
 * @returns what releases it
 */
export async function holdFile(page: Page, name: string): Promise<() => void> {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  await page.context().route(`**/${name}`, async (route) => {
    await released;
    await route.continue();
  });
  return release;
}
