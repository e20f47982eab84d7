import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect } from "./fixtures.ts";

/** Axe's rules about colours: all others say the same of the page in either scheme. */
const COLOUR_RULES = ["color-contrast", "link-in-text-block"];

/**
 * Fails with the rules that axe finds broken in the page as it stands, in light and in dark colours, and the elements that
 * break them.
 */
export async function expectNoViolations(page: Page): Promise<void> {
  expect(page.frames(), "axe is asked to look at one frame").toHaveLength(1);
  await showColours(page, "light");
  await expectNone(await axeIn(page), "in light colours");
  await showColours(page, "dark");
  await expectNone((await axeIn(page)).withRules(COLOUR_RULES), "in dark colours");
  await showColours(page, "light");
}

/** Axe, whose script of half a megabyte a page takes once: it would be given to it twice each time that it is asked. */
async function axeIn(page: Page): Promise<AxeBuilder> {
  const isThere = await page.evaluate(() => "axe" in globalThis);
  const axe = new AxeBuilder({ page, ...(isThere ? { axeSource: "void 0" } : {}) });
  // Otherwise axe describes all that is well too, and opens a page beside this one to put together what frames hold.
  return axe.options({ resultTypes: ["violations"] }).setLegacyMode();
}

async function expectNone(axe: AxeBuilder, where: string): Promise<void> {
  const { violations } = await axe.analyze();
  expect(
    violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
    where,
  ).toEqual([]);
}

/**
 * Changes the scheme, and ends what is on its way from one colour to another, such as a button that can be pressed now: where nothing is
 * drawn it would never arrive.
 */
async function showColours(page: Page, colorScheme: "light" | "dark"): Promise<void> {
  await page.emulateMedia({ colorScheme });
  await page.evaluate(() => {
    for (const animation of document.getAnimations())
      if (animation instanceof CSSTransition) animation.finish();
  });
}
