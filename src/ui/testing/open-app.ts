// The page's app over services that answer at once, for tests of its state and of what clicks do.

import { expect } from "vitest";
import { eventually } from "../../testing/eventually.ts";
import type { App } from "../state/app-state.ts";
import { createApp } from "../actions/create-app.ts";
import { inspectAddress } from "../actions/inspect-model.ts";
import { type FakeServices, fakeServices } from "./fake-services.ts";

const PAGE = "https://pages.example.org/layerpress/";

/** As a link with `search` opens it. */
export function openApp(services: FakeServices = {}, search = ""): App {
  return createApp(fakeServices(services), PAGE + search);
}

/** With a model inspected and its first plan made. */
export async function openInspected(services: FakeServices = {}): Promise<App> {
  const app = openApp(services);
  app.state.address.value = "org/name";
  await inspectAddress(app);
  await eventually(() => expect(app.state.planning.value).toBe(false));
  return app;
}

/** A promise and what settles it; Node 20 has no Promise.withResolvers. */
export function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** What a worker's error is on the page: a name and a sentence. */
export function failure(name: string): Error {
  return Object.assign(new Error("A sentence."), { name });
}
