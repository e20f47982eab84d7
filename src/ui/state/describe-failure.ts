// A failure as the page shows it: a heading by the error's name, the error's own sentence, and what can be done next.
// Only name and message cross from a worker, so the name is all that there is to go by.

export type FailedWhile =
  | "starting"
  | "inspecting"
  | "planning"
  | "running"
  | "saving"
  | "reading what is stored";

/** A button beside a failure. */
export type FailureAction =
  | "retry"
  | "go-on"
  | "round-to-nearest"
  | "regroup"
  | "token"
  | "storage"
  | "choose-another"
  | "reload";

export interface Failure {
  readonly while: FailedWhile;
  readonly name: string;
  readonly heading: string;
  readonly message: string;
  /** What the user can do, in words; null where the message says it already. */
  readonly advice: string | null;
  readonly actions: readonly FailureAction[];
}

type Description = Pick<Failure, "heading" | "advice" | "actions">;

/** Servers that can be given a token say so; a wrong address is not mended by one. */
const TOKEN_HELPS = /\btoken\b/;

const KEPT = "Finished layers are kept.";

/** Planning reads nothing but headers, unless the recipe calibrates: then also its text and what tokenizes it. */
const WHILE_PLANNING: Readonly<Record<string, Description>> = {
  NetworkError: { heading: "What calibration needs did not arrive", advice: null, actions: ["retry"] },
  AccessError: { heading: "The data set cannot be opened", advice: null, actions: ["retry"] },
  MalformedModelError: {
    heading: "What calibration needs is broken",
    advice: null,
    actions: ["round-to-nearest"],
  },
  UnsupportedModelError: {
    heading: "This model cannot be calibrated",
    advice: null,
    actions: ["round-to-nearest"],
  },
  DeviceLimitError: {
    heading: "The GPU does not offer what is needed",
    advice: null,
    actions: ["round-to-nearest"],
  },
};

const DESCRIPTIONS: Readonly<Record<string, (running: boolean) => Description>> = {
  NetworkError: (running) => ({
    heading: "The model’s host did not deliver",
    advice: running ? `${KEPT} Going on downloads only what is missing.` : null,
    actions: ["retry"],
  }),
  AccessError: () => ({
    heading: "The model cannot be opened",
    advice: null,
    actions: ["token", "choose-another"],
  }),
  MalformedModelError: () => ({
    heading: "A file of this model is broken",
    advice: "If only the download was damaged, deleting what is stored and starting again helps.",
    actions: ["storage", "choose-another"],
  }),
  UnsupportedModelError: () => ({
    heading: "This model is not supported",
    advice: null,
    actions: ["choose-another"],
  }),
  RecipeError: () => ({ heading: "The recipe does not fit", advice: null, actions: ["regroup"] }),
  PartsError: () => ({ heading: "These parts make no whole", advice: null, actions: ["choose-another"] }),
  ExchangeError: (running) => ({
    heading: "Another share of this job is missing",
    advice: running ? KEPT : null,
    actions: ["retry"],
  }),
  CalibrationError: () => ({
    heading: "The calibration text cannot be used",
    advice: null,
    actions: ["round-to-nearest"],
  }),
  DeviceLimitError: (running) => ({
    heading: "The GPU does not offer what is needed",
    advice: running ? KEPT : null,
    actions: running ? ["retry"] : [],
  }),
  DeviceLostError: () => ({
    heading: "The GPU went away",
    advice: `${KEPT} Other programs may be using the GPU; a smaller GPU budget can help.`,
    actions: ["retry"],
  }),
  StorageError: (running) => ({
    heading: "The browser’s storage refuses",
    advice: running ? KEPT : null,
    actions: running ? ["storage", "retry"] : ["storage"],
  }),
  MemoryError: (running) => ({
    heading: "The browser gives this page no more memory",
    advice: running ? KEPT : null,
    actions: running ? ["reload", "retry"] : ["reload"],
  }),
  BusyError: () => ({
    heading: "Another tab is already compressing",
    advice: null,
    actions: ["retry"],
  }),
  VerificationError: () => ({
    heading: "The result did not pass its check",
    advice: "Do not use what was written. Delete the job under “Kept in this browser” and start again.",
    actions: ["storage"],
  }),
};

const DEFECT: Description = {
  heading: "Something went wrong in Layerpress itself",
  advice: "This is a defect of the page, not of your model. Reloading often helps; finished layers are kept.",
  actions: ["retry", "reload"],
};

/** Describes whatever was thrown. While running, trying again means going on from the last finished layer. */
export function describeFailure(error: unknown, failedWhile: FailedWhile): Failure {
  const name = error instanceof Error ? error.name : "Error";
  const message = error instanceof Error ? error.message : String(error);
  const running = failedWhile === "running";
  const planning = failedWhile === "planning" ? own(WHILE_PLANNING, name) : undefined;
  const { heading, advice, actions } = planning ?? own(DESCRIPTIONS, name)?.(running) ?? DEFECT;
  return {
    while: failedWhile,
    name,
    heading,
    message,
    advice,
    actions: actions
      .filter((action) => action !== "token" || TOKEN_HELPS.test(message))
      .map((action) => (running && action === "retry" ? "go-on" : action)),
  };
}

/** The entry of a name that came from outside: "constructor" is none. */
function own<Entry>(entries: Readonly<Record<string, Entry>>, name: string): Entry | undefined {
  return Object.hasOwn(entries, name) ? entries[name] : undefined;
}
