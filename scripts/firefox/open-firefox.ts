// A stock Firefox, driven over WebDriver BiDi: Playwright drives builds of its own alone.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { undoneBy } from "../../src/ended-by.ts";

const NAMES = ["firefox-esr", "firefox"];
const STARTING_MS = 60_000;
/** WebGPU is a preference on Linux; the blocklist has the software adapters on it. */
const PREFERENCES: Readonly<Record<string, boolean | string>> = {
  "dom.webgpu.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
  "dom.webgpu.wgpu-backend": "vulkan",
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
};

export interface OpenFirefox extends AsyncDisposable {
  readonly version: string;
  goto(url: string): Promise<void>;
  /** Calls a function of the page, given as text, with a text, and waits for the text that it gives. */
  call(functionText: string, argument: string): Promise<string>;
}

/** The executable: LAYERPRESS_FIREFOX, else one of the system's; null if there is none. */
export function findFirefox(): string | null {
  const chosen = process.env["LAYERPRESS_FIREFOX"];
  if (chosen) return chosen;
  const found = NAMES.map((name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }));
  return found.find(({ status }) => status === 0)?.stdout.trim() ?? null;
}

/** Starts Firefox with a new profile. @throws Error if it does not answer */
export async function openFirefox(executable: string): Promise<OpenFirefox> {
  const profile = mkdtempSync(join(tmpdir(), "layerpress-firefox-"));
  const lines = Object.entries(PREFERENCES).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
  );
  writeFileSync(join(profile, "user.js"), lines.join("\n"));
  const args = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"];
  const child = spawn(executable, args, { stdio: ["ignore", "ignore", "pipe"] });
  const close = async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  const start = async (): Promise<OpenFirefox> => {
    const session = await connect(await addressOf(child));
    const created = await session.send("session.new", { capabilities: {} });
    const version = textAt(created, "capabilities", "browserVersion");
    const context = textAt(await session.send("browsingContext.create", { type: "tab" }), "context");
    return {
      version,
      goto: async (url) => {
        await session.send("browsingContext.navigate", { context, url, wait: "complete" });
      },
      call: async (functionDeclaration, argument) =>
        answerOf(
          await session.send("script.callFunction", {
            functionDeclaration,
            arguments: [{ type: "string", value: argument }],
            awaitPromise: true,
            target: { context },
          }),
        ),
      [Symbol.asyncDispose]: close,
    };
  };
  return await undoneBy(start, close);
}

/** Firefox says where it listens on its error output. */
async function addressOf(child: ChildProcess): Promise<string> {
  const { stderr } = child;
  if (!stderr) throw new Error("Firefox has no error output.");
  const lines = createInterface({ input: stderr });
  const timer = setTimeout(() => lines.close(), STARTING_MS);
  try {
    for await (const line of lines) {
      const address = /WebDriver BiDi listening on (ws:\S+)/.exec(line)?.[1];
      if (address !== undefined) return `${address}/session`;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`Firefox did not open WebDriver BiDi within ${STARTING_MS / 1000} s.`);
}

type Answer = Readonly<Record<string, unknown>>;

interface Session {
  send(method: string, params: object): Promise<Answer>;
}

async function connect(address: string): Promise<Session> {
  const socket = new WebSocket(address);
  const waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  let last = 0;
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as {
      readonly id?: number;
      readonly result?: Answer;
      readonly message?: string;
    };
    const asked = message.id === undefined ? undefined : waiting.get(message.id);
    if (!asked || message.id === undefined) return;
    waiting.delete(message.id);
    if (message.result) asked.resolve(message.result);
    else asked.reject(new Error(message.message));
  });
  socket.addEventListener("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("Firefox has ended."));
  });
  await once(socket, "open");
  return {
    send: async (method, params) =>
      await new Promise((resolve, reject) => {
        const id = ++last;
        waiting.set(id, { resolve, reject });
        socket.send(JSON.stringify({ id, method, params }));
      }),
  };
}

function answerOf(answer: Answer): string {
  if (answer["type"] === "success") return textAt(answer, "result", "value");
  throw new Error(textAt(answer, "exceptionDetails", "text"));
}

function textAt(answer: Answer, ...path: readonly string[]): string {
  let value: unknown = answer;
  for (const name of path) {
    if (typeof value !== "object" || value === null) break;
    value = Object.entries(value).find(([key]) => key === name)?.[1];
  }
  if (typeof value === "string") return value;
  throw new Error(`Firefox answered ${JSON.stringify(answer).slice(0, 300)}.`);
}
