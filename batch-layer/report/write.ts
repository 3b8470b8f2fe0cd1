import { join } from "node:path";
import type { ReportStamp } from "../../core/log/documents.ts";
import { pageOf } from "../../systems/shop/report/page.ts";
import { productsCsv } from "../../systems/shop/report/products-csv.ts";
import { type ReportIdentity, type ReportNumbers, summaryOf } from "../../systems/shop/report/summary.ts";
import type { BatchStores } from "../stores.ts";
import { editionFolder, REPORT_FILES } from "./edition.ts";

/**
 * Writes an edition's files, again to the byte when they are there already. What differs from run to run is in the stamp alone, which comes
 * last: an edition with a stamp is whole.
 */
export async function writeEdition(
  { data }: Pick<BatchStores, "data">,
  identity: ReportIdentity,
  numbers: ReportNumbers,
  stamp: ReportStamp,
): Promise<{ readonly folder: string }> {
  const folder = editionFolder(identity.date, identity.edition);
  const summary = summaryOf(identity, numbers);
  const unit = numbers.units.revenue ?? "";
  await data.replace(join(folder, REPORT_FILES.products), productsCsv(numbers.products, unit));
  await data.replace(join(folder, REPORT_FILES.summary), `${JSON.stringify(summary, null, 1)}\n`);
  await data.replace(join(folder, REPORT_FILES.page), pageOf(identity, numbers, summary));
  await data.replace(join(folder, REPORT_FILES.stamp), `${JSON.stringify(stamp, null, 1)}\n`);
  return { folder };
}
