import type { PublishRequest } from "../../../src/api/publisher-api.ts";
import { nameProblem } from "../../../src/formats/files/repository-name.ts";
import { isHubToken } from "../../../src/formats/files/hub-token.ts";
import { readHub, UsageError } from "./argument-readers.ts";

export type Push = Omit<PublishRequest, "jobId">;

/** The options that publishing looks at. */
interface PushValues {
  readonly push?: string | undefined;
  readonly public: boolean;
  readonly "push-existing": boolean;
  readonly token?: string | undefined;
  readonly plan: boolean;
  readonly layers?: string | undefined;
  readonly "states-at"?: string | undefined;
  readonly share?: string | undefined;
}

/**
 * Where a result is published, or null.
 * @throws UsageError if it names no repository, nothing would be published, or the token is none of the Hub
 */
export function readPush(values: PushValues): Push | null {
  const { push, public: isPublic, "push-existing": existing } = values;
  if (push !== undefined && (values.plan || values.layers !== undefined || values["states-at"] !== undefined))
    throw new UsageError("--push publishes a whole model: a part is none, and --plan makes nothing.");
  if (push !== undefined && values.share !== undefined && !/^0*1\//.test(values.share))
    throw new UsageError("--push publishes what share 1 writes; the others write nothing. Give it there.");
  if (push === undefined) {
    if (isPublic || existing)
      throw new UsageError(
        `--${isPublic ? "public" : "push-existing"} says how a result is published: it needs --push.`,
      );
    return null;
  }
  const [owner = "", name = "", ...more] = push.split("/");
  const problem = more.length > 0 || nameProblem(owner) !== null ? "It is OWNER/NAME." : nameProblem(name);
  if (problem !== null) throw new UsageError(`--push ${push} names no repository. ${problem}`);
  const token = values.token ?? process.env["HF_TOKEN"];
  if (!token) throw new UsageError("--push needs a token with write permission: --token or HF_TOKEN.");
  // Told before a job that may take hours.
  if (!isHubToken(token))
    throw new UsageError(
      "--push needs a token of the Hub, which begins with “hf_”. Copy it again from the Hub’s settings, and give it by --token or HF_TOKEN.",
    );
  return {
    hubUrl: readHub(process.env["HF_ENDPOINT"]),
    token,
    repository: push,
    visibility: isPublic ? "public" : "private",
    existing,
  };
}
