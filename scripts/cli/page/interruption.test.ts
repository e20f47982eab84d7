import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

const SCRIPTS = join(import.meta.dirname, "../..");
/** As a command begins; it watches only when its input ends. */
const COMMAND = `
  import { once } from "node:events";
  const { readTypeScript } = await import("${SCRIPTS}/prepare.mjs");
  console.log("begun");
  process.stdin.resume();
  await once(process.stdin, "end");
  await readTypeScript();
  const { watchInterruption } = await import("${SCRIPTS}/cli/page/interruption.ts");
  const watch = watchInterruption();
  const error = await watch.interrupted.catch((thrown) => thrown);
  console.log(error.message, error.status);
  process.exit();
`;

/** Kills what is left of a group of processes, if anything is. */
function endGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

it("a command notices that its npm ended before it watched", async () => {
  // The shell has more to do than the command, and stays its parent.
  const shell = spawn("sh", ["-c", `"$0" --input-type=module -e "$1"; true`, process.execPath, COMMAND], {
    env: { ...process.env, npm_lifecycle_event: "compress" },
    stdio: ["pipe", "pipe", "inherit"],
    // A group of their own, which ends as a whole, whatever the test found.
    detached: true,
  });
  onTestFinished(() => endGroup(shell.pid));
  const lines = createInterface(shell.stdout)[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("begun");
  const ended = once(shell, "exit");
  shell.kill("SIGKILL");
  // With the shell, what it would be told ends.
  await ended;
  expect((await lines.next()).value).toBe("Ended by SIGHUP. 129");
});
