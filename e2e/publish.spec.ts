import type { Page } from "@playwright/test";
import { type PublishingHub, startPublishingHub } from "../scripts/model-server/publishing-hub.ts";
import { CLIENT_ID, OAUTH_TOKEN } from "../scripts/model-server/publishing-login.ts";
import { expectNoViolations } from "./expect-no-violations.ts";
import { expect, test } from "./fixtures.ts";
import { sha256 } from "./jobs.ts";

test.use({ browserOptions: { profile: true } });

const TOKEN = "hf_of_this_test";
const ADA = { name: "ada", orgs: ["lab"] };

/** Names another Hub in the page's head while it is read, as somebody does who serves the page. */
async function nameHub(page: Page, hub: PublishingHub): Promise<void> {
  await page.addInitScript(
    ([url, client]) => {
      const named = { "layerpress:hub": url, "layerpress:oauth-client": client };
      new MutationObserver(() => {
        for (const [name, content] of Object.entries(named))
          document.querySelector(`meta[name="${name}"]`)?.setAttribute("content", content);
      }).observe(document, { childList: true, subtree: true });
    },
    [hub.url, CLIENT_ID] as const,
  );
}

test("a result is published by signing in or by a token, which goes to the Hub alone", async ({
  page,
  context,
}) => {
  const hub = await startPublishingHub({
    accounts: { [TOKEN]: ADA, [OAUTH_TOKEN]: ADA },
    partBytes: 400_000,
  });
  try {
    await nameHub(page, hub);
    await page.goto("./?recipe=w4a16&ignore=lm_head,re:.*layers.[123].*");
    await page.getByRole("button", { name: "Try the sample model" }).click();
    await page.getByRole("button", { name: "Start" }).click();
    await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();

    const panel = page.getByRole("region", { name: "Publish to the Hub" });
    await panel.getByLabel("Or a write token").fill("hf_expired");
    await panel.getByRole("button", { name: "Use it" }).click();
    await expect(panel.getByRole("alert")).toContainText("refuses the token (401)");
    await expectNoViolations(page);

    await panel.getByRole("button", { name: /^Sign in at/ }).click();
    await expect(panel.getByText("Signed in as ada")).toBeVisible();
    expect(new URL(page.url()).search).toBe("");
    await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
    await panel.getByLabel("Owner").selectOption("lab");
    await panel.getByLabel("Name").fill("tiny");
    await expectNoViolations(page);
    await panel.getByRole("button", { name: "Publish" }).click();
    await expect(panel.getByText("Published as lab/tiny")).toBeVisible();
    await expectNoViolations(page);

    const { files, private: isPrivate } = hub.state.repositories.get("lab/tiny") ?? {
      files: new Map<string, Buffer>(),
    };
    expect(isPrivate).toBe(true);
    const card = files.get("README.md")?.toString() ?? "";
    expect(card).toContain('from_pretrained("lab/tiny"');
    expect(card).toContain(sha256(files.get("model.safetensors") ?? Buffer.alloc(0)));
    expect(files.has("receipt.json")).toBe(true);

    files.set("notes.txt", Buffer.from("Somebody else's."));
    await panel.getByRole("button", { name: "Publish" }).click();
    await expect(panel.getByRole("alert")).toContainText("lab/tiny exists already, and is not empty");
    await panel.getByRole("button", { name: "Sign out" }).click();
    await panel.getByLabel("Or a write token").fill(TOKEN);
    await panel.getByRole("button", { name: "Use it" }).click();
    await panel.getByLabel("Commit into the repository").check();
    await panel.getByRole("radio", { name: /^Private/ }).check();
    await panel.getByLabel("Owner").selectOption("lab");
    const sent = hub.state.storedBytes;
    await panel.getByRole("button", { name: "Publish" }).click();
    await expect(panel.getByText("Published as lab/tiny")).toBeVisible();
    // What lies there is not sent again.
    expect(hub.state.storedBytes).toBe(sent);

    const outside = hub.log.filter(({ origin }) => origin !== "hub");
    expect(outside.length).toBeGreaterThan(1);
    for (const token of [TOKEN, OAUTH_TOKEN]) {
      expect(outside.filter(({ text, path }) => (text + path).includes(token))).toEqual([]);
      expect(hub.log.filter(({ path, referer }) => (path + (referer ?? "")).includes(token))).toEqual([]);
      const { origins } = await context.storageState({ indexedDB: true });
      const kept = [origins, await page.evaluate(() => Object.values(sessionStorage))];
      expect(JSON.stringify(kept)).not.toContain(token);
    }
  } finally {
    await hub.close();
  }
});
