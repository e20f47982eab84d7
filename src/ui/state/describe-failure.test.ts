import { expect, it } from "vitest";
import * as errors from "../../errors.ts";
import { describeFailure } from "./describe-failure.ts";

/** As errors arrive from a worker: name and message, no class. */
function fromWorker(name: string, message = "What happened."): Error {
  return Object.assign(new Error(message), { name });
}

const userErrors = Object.values(errors).flatMap((value) =>
  "errorName" in value && value !== errors.LayerpressError ? [value.errorName] : [],
);

it.each(userErrors)("has its own heading for %s", (name) => {
  const { heading, message } = describeFailure(fromWorker(name), "running");
  expect(heading).not.toBe(describeFailure(fromWorker("TypeError"), "running").heading);
  expect(message).toBe("What happened.");
});

it("offers to go on where a running job can", () => {
  expect(describeFailure(fromWorker("DeviceLostError"), "running").actions).toContain("go-on");
  expect(describeFailure(fromWorker("NetworkError"), "running").actions).toEqual(["go-on"]);
  expect(describeFailure(fromWorker("NetworkError"), "inspecting").actions).toEqual(["retry"]);
});

it("offers the token field for a model that is gated, and storage where it is full", () => {
  const actionsFor = (message: string) =>
    describeFailure(fromWorker("AccessError", message), "inspecting").actions;
  expect(actionsFor("a/b is gated (401): accept its licence, then give a token of that account.")).toContain(
    "token",
  );
  expect(actionsFor('"x" is not an address that can be fetched.')).toEqual(["choose-another"]);
  expect(describeFailure(fromWorker("StorageError"), "running").actions).toContain("storage");
});

it("owns up to everything that has no name of ours", () => {
  for (const thrown of [fromWorker("TypeError"), fromWorker("constructor"), "text", null]) {
    expect(describeFailure(thrown, "running").heading).toMatch(/in Layerpress itself/);
  }
});
