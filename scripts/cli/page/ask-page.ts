// What a command asks of the page through its door for scripts.

import { basename } from "node:path";
import type { JSHandle, Page } from "playwright";
import type { FitReport, ResultFit, ResultSummary } from "../../../src/api/compressor-api.ts";
import type { JobShare } from "../../../src/api/job-options.ts";
import type { CompressRequest } from "../../../src/api/script-api.ts";
import type { CompressArguments, PlanArguments } from "../arguments/compress-arguments.ts";
import { giveFile } from "./give-file.ts";
import { EXCHANGE_PATH } from "../exchange/exchange-files.ts";
import { PAGE_ORIGIN } from "./open-page.ts";
import { answerOf } from "./told.ts";
import type { AskedPart } from "../arguments/part-arguments.ts";
import type { AskedShare } from "../arguments/share-arguments.ts";
import { checkReachable, curveLines, type WantedSize, wantedBytes } from "../arguments/wanted-size.ts";
import type { MixedRecipe, SchemeSurvey } from "../../../src/api/scheme-survey.ts";

/** What is asked of the whole job. */
type PlainArguments = Omit<CompressArguments, "out" | "share" | keyof AskedPart>;

/** What was made by one recipe, and what the plan said of servers. */
export type Outcome = ResultSummary & Pick<ResultFit, "serverNotes" | "servableRecipe">;

/** Runs the job; gives what each recipe made, in their order. @throws Error with the page's name and sentence */
export async function compressInPage(
  page: Page,
  args: CompressArguments,
): Promise<{ readonly results: readonly Outcome[]; readonly chosen: ChosenSize | null }> {
  const [whole, file] = await giveInputs(page, args, args.part);
  const size = args.wanted && (await chooseSchemes(page, whole, file, args.wanted));
  const recipes = size ? { recipe: { ...PLAIN, text: size.yaml }, beside: [] } : {};
  const request = { ...whole, ...recipes, share: args.share && jobShare(args.share) };
  const states = [];
  for (const path of args.statesFiles) states.push(await giveFile(page, path));
  const made = answerOf(
    await page.evaluate(
      async ([asked, chosen, begun]) =>
        await globalThis.layerpressTold(async () => {
          const { results, fit } = await globalThis.layerpress.compress(asked, chosen ?? undefined, begun);
          return results.map((result, index) => ({ ...result, fit: fit.results[index] }));
        }),
      [request, file, states] as const,
    ),
  );
  const results = made.map(({ fit, ...result }) => ({
    ...result,
    serverNotes: fit?.serverNotes ?? [],
    servableRecipe: fit?.servableRecipe ?? null,
  }));
  return { results, chosen: size };
}

/** The size that was chosen, and what it was chosen from. */
export interface ChosenSize extends MixedRecipe {
  readonly survey: SchemeSurvey;
}

const PLAIN = {
  groupSize: null,
  ignore: null,
  observer: null,
  dampeningFrac: null,
  actorder: null,
  awqLoss: null,
};

/** Has the schemes of all modules measured, and takes the recipe of the wanted size. */
async function chooseSchemes(
  page: Page,
  request: CompressRequest,
  file: JSHandle<File> | null,
  wanted: WantedSize,
): Promise<ChosenSize> {
  checkReachable((await planned(page, request, file)).results, wanted);
  const survey = answerOf(
    await page.evaluate(
      async ([asked, given]) =>
        await globalThis.layerpressTold(
          async () => await globalThis.layerpress.survey(asked, given ?? undefined),
        ),
      [request, file] as const,
    ),
  );
  const chosen = answerOf(
    await page.evaluate(
      async (bytes) =>
        await globalThis.layerpressTold(async () => await globalThis.layerpress.mixedRecipe(bytes)),
      wantedBytes(survey, wanted),
    ),
  );
  for (const line of curveLines(survey, chosen)) console.log(line);
  return { ...chosen, survey };
}

/** What the page is told of a share: where its files are, not whose folder it is. */
function jobShare({ index, of }: AskedShare): JobShare {
  return { index, of, exchange: `${PAGE_ORIGIN}${EXCHANGE_PATH}` };
}

/** Plans the job. @throws Error with the page's name and sentence */
export async function planInPage(page: Page, args: PlanArguments): Promise<FitReport> {
  return await planned(page, ...(await giveInputs(page, args, null)));
}

async function planned(
  page: Page,
  request: CompressRequest,
  file: JSHandle<File> | null,
): Promise<FitReport> {
  return answerOf(
    await page.evaluate(
      async ([asked, chosen]) =>
        await globalThis.layerpressTold(
          async () => await globalThis.layerpress.plan(asked, chosen ?? undefined),
        ),
      [request, file] as const,
    ),
  );
}

/** The request, and the files of this machine that it needs, which the page is given. */
async function giveInputs(
  page: Page,
  args: PlainArguments,
  part: CompressArguments["part"],
): Promise<readonly [CompressRequest, JSHandle<File> | null]> {
  if (args.source.kind === "folder")
    await page.setInputFiles('input[type="file"][aria-label="Model folder"]', args.source.text);
  const given = args.calibrationFile;
  return [requestOf(args, part), given && (await giveFile(page, given.path))];
}

/** What the door is asked for. */
export function requestOf(
  { calibrationFile, ...args }: PlainArguments,
  part: CompressArguments["part"],
): CompressRequest {
  const file = calibrationFile && {
    name: basename(calibrationFile.path),
    text: null,
    column: calibrationFile.column,
  };
  const { source, token, recipe, beside, along, calibration, gpuBudgetBytes, keepSource } = args;
  return {
    source: source.kind === "address" ? source.text : null,
    token,
    recipe,
    beside,
    along,
    calibration: { ...calibration, file },
    gpuBudgetBytes,
    keepSource,
    part,
  };
}
