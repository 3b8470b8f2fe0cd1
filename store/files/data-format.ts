import { TidelineError } from "../../core/errors.ts";
import { DataFormat } from "../../core/log/documents.ts";
import type { DataDirectory } from "./files.ts";

/**
 * The format of the documents that this release writes. Raise it when the release before could not read a new document,
 * or would misread it. 1: `format.json` did not exist. 2: archive entries and manifests have marks of the log.
 */
export const DATA_FORMAT = 2;

const NAME = "format.json";

/**
 * Throws DATA_NEWER when a newer release has written to the data directory. One without a format is older, or empty.
 */
export async function requireDataFormat(data: DataDirectory): Promise<void> {
  const format = await formatOf(data);
  if (format <= DATA_FORMAT) return;
  throw new TidelineError(
    "DATA_NEWER",
    `a newer release has written the data directory ${data.root}: its format is ` +
      `${format}, and this release reads formats up to ${DATA_FORMAT}`,
    "Start the newer release. Or restore the backup that was made before the " +
      "upgrade (docs/deploying.md, Upgrade), and start this one.",
  );
}

/** Stores that this release writes to the data directory from now on. Throws DATA_NEWER. */
export async function writeDataFormat(data: DataDirectory): Promise<void> {
  await requireDataFormat(data);
  if ((await formatOf(data)) < DATA_FORMAT) await data.replace(NAME, `${JSON.stringify({ format: DATA_FORMAT })}\n`);
}

async function formatOf(data: DataDirectory): Promise<number> {
  return (await data.read(NAME, DataFormat))?.format ?? 1;
}
