import { join } from "node:path";
import type { ReportStamp } from "../../core/log/documents.ts";
import type { BatchStores } from "../stores.ts";
import { editionFolder, fileOfReport, PAGE, STAMP } from "./edition.ts";
import type { ReportContent, ReportIdentity } from "./report.ts";

/**
 * Writes an edition's files, again to the byte when they are there already, and returns their folder and names. What
 * differs from run to run is in the stamp alone, which comes last: an edition with a stamp is whole. Throws RangeError
 * for a name that no file of a report may have.
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
