import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "./fixtures.ts";

test.use({ browserOptions: { profile: true } });

/** A host that answers everything and remembers that it was asked. */
async function openHost() {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(404, { "access-control-allow-origin": "*" }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/tiny/`, asked, [Symbol.dispose]: () => void server.close() };
}

test("a link that names a model asks nobody before the click", async ({ page }) => {
  using host = await openHost();
  await page.goto(`./?model=${encodeURIComponent(host.url)}&recipe=W8A8`);
  await expect(page.getByLabel("Model", { exact: true })).toHaveValue(host.url);
  await expect(page.getByText(`Inspecting asks ${new URL(host.url).host}`)).toBeVisible();
  await expect(page.getByText("Software adapter", { exact: true })).toBeVisible();
  expect(host.asked).toEqual([]);
  await page.getByRole("button", { name: "Inspect" }).click();
  await expect(page.getByRole("alert")).toContainText("config.json");
  expect(host.asked).not.toEqual([]);
});

test.describe("with a narrower policy in the page", () => {
  test("workers are bound by it too", async ({ context }) => {
    // Not the page fixture: this test wants the refusals that the fixture takes for faults.
    const page = await context.newPage();
    using host = await openHost();
    await page.route("./", async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace("connect-src https: http:", "connect-src 'self'");
      await route.fulfill({ response, body });
    });
    await page.goto("./");
    await page.getByLabel("Model", { exact: true }).fill(host.url);
    await page.getByRole("button", { name: "Inspect" }).click();
    await expect(page.getByRole("alert")).toContainText("did not deliver");
    expect(host.asked).toEqual([]);
    await page.getByRole("button", { name: "Try the sample model" }).click();
    await expect(page.getByRole("heading", { name: "Fit report" })).toBeVisible();
  });
});
