// GPTQ of each checkpoint through the built page, with tokens at random.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { requestOf } from "../cli/page/ask-page.ts";
import { readCompressArguments } from "../cli/arguments/compress-arguments.ts";
import { openPage } from "../cli/page/open-page.ts";
import { RECEIVING_PATH } from "../cli/page/receive-files.ts";
import { startModelServer } from "../model-server/model-server.ts";
import { folderModel } from "../model-server/served-model.ts";
import { seededRandom } from "../../src/testing/random.ts";
import type { Fixture } from "./fixture.ts";
import type { Tell } from "./resume.ts";
import { endedBy } from "../../src/ended-by.ts";

const [SEQUENCES, TOKENS, IDS] = [8, 48, 128];
/** Columns of a group: the second where the first does not divide a Linear's inputs. */
const GROUPS = ["32", "16"];

interface Memory {
  readonly peakBytes: number;
  readonly plannedBytes: number;
}

export interface Compressed extends Memory {
  readonly linears: number;
  /** ½ tr(ΔW H ΔWᵀ) of GPTQ over that of rounding to nearest, summed, and of the Linear with the largest ratio. */
  readonly ratio: number;
  readonly worstRatio: number;
}

/** Runs a job in the page and has it send the files of the result. */
const COMPRESS = `async (text) => {
  const { request, to } = JSON.parse(text);
  try {
    const { result } = await globalThis.layerpress.compress(request);
    for (const { path } of result.files) await globalThis.layerpress.send(path, to + encodeURIComponent(path));
    return { peakBytes: result.peakGpuBytes, plannedBytes: result.plannedGpuBytes };
  } catch (error) {
    return error.name + ": " + error.message;
  }
}`;

/** Compresses all into folders of `out`, by the fixtures' names. */
export async function compressAll(
  fixtures: readonly Fixture[],
  out: string,
  tell: Tell<Compressed>,
): Promise<void> {
  const models = Object.fromEntries(
    await Promise.all(
      fixtures.map(async ({ folder }, index) => [
        `checkpoints/${index}`,
        { files: await folderModel(folder) },
      ]),
    ),
  );
  const server = await startModelServer({ models });
  const compress = async () => {
    await using opened = await openPage(join(out, ".work"), out);
    for (const [index, { name }] of fixtures.entries()) {
      let made: Compressed | string = "";
      for (const size of GROUPS) {
        const source = `${server.filesUrl}/checkpoints/${index}/`;
        const request = requestFor(source, size);
        const argument = JSON.stringify({
          request,
          to: `${RECEIVING_PATH}${encodeURIComponent(`${name}/`)}`,
        });
        const call = `(${COMPRESS})(${JSON.stringify(argument)})`;
        const result = await opened.during(opened.page.evaluate<Memory | string>(call));
        made = typeof result === "string" ? result : withLosses(result, join(out, name));
        if (typeof result !== "string") break;
      }
      console.log(`  ${name}: ${typeof made === "string" ? made : made.ratio.toFixed(3)}`);
      tell(name, made);
    }
  };
  await endedBy(compress, server.close);
}

function requestFor(source: string, groupSize: string) {
  const recipe = ["--recipe", "gptq-W4A16", "--group-size", groupSize];
  const args = readCompressArguments([source, "--out", "out", ...recipe, "--gpu-budget", "256MiB"]);
  if (!args || !("out" in args)) throw new Error("The command line asks for no job.");
  const random = seededRandom(7);
  const ids = Array.from({ length: SEQUENCES }, () =>
    Array.from({ length: TOKENS }, () => Math.floor(random() * IDS)),
  );
  const request = requestOf(args, null);
  const file = { name: "ids.json", text: JSON.stringify(ids) };
  return { ...request, calibration: { ...request.calibration, file, shuffle: false } };
}

function withLosses(memory: Memory, folder: string): Compressed | string {
  const report = JSON.parse(readFileSync(join(folder, "quantization-report.json"), "utf8"));
  const measured = report.modules.filter(({ rtn_loss: loss }: { rtn_loss: number | null }) => loss !== null);
  const ratios = measured.map(
    ({ loss, rtn_loss: rounding }: { loss: number; rtn_loss: number }) => loss / rounding,
  );
  const { loss, rtn_loss: rounding } = report.totals;
  const [ratio, worstRatio] = [loss / rounding, Math.max(...ratios)];
  if (![ratio, worstRatio].every(Number.isFinite)) return "Error: losses are no finite numbers";
  return { ...memory, linears: measured.length, ratio, worstRatio };
}
