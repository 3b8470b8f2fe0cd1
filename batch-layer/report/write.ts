import { join } from "node:path";
import type { ReportStamp } from "../../core/log/documents.ts";
import type { BatchStores } from "../stores.ts";
import { editionFolder, fileOfReport, PAGE, STAMP } from "./edition.ts";
import type { ReportContent, ReportIdentity } from "./report.ts";

/**
 * Writes an edition's files and returns their folder and names. Writing again gives the same bytes, except for the
 * stamp, which is written last: an edition with a stamp is complete. Throws RangeError for a name that a report's file
 * may not have.
 */
export async function writeEdition(
  { data }: Pick<BatchStores, "data">,
  { date, edition }: ReportIdentity,
  { files, page }: ReportContent,
  stamp: ReportStamp,
): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const folder = editionFolder(date, edition);
  for (const [name, text] of Object.entries(files)) {
    if (!fileOfReport(name))
      throw new RangeError(`a report has no file "${name}": lower-case .csv, .json or .txt, and no name of Tideline's`);
    await data.replace(join(folder, name), text);
  }
  await data.replace(join(folder, PAGE), page);
  await data.replace(join(folder, STAMP), `${JSON.stringify(stamp, null, 1)}\n`);
  return { folder, files: [PAGE, ...Object.keys(files)] };
}
