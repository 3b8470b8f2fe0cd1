import { join } from "node:path";
import { ReportDelivery, ReportPin, ReportStamp } from "../../core/documents.ts";
import type { BatchStores } from "../stores.ts";

/**
 * Where a day's report lies: `reports/daily/<date>/edition-<number>/`. An edition begins with its pin. A day has one edition, and another
 * each time that somebody wants the numbers as they are now.
 */

export const REPORT_FILES = {
  page: "report.html",
  summary: "summary.json",
  products: "top-products.csv",
  stamp: "stamp.json",
} as const;

const PIN = "pin.json";
const DELIVERY = "delivered.json";
const PREFIX = "edition-";

export function editionFolder(date: string, edition: number): string {
  return join("reports", "daily", date, `${PREFIX}${edition}`);
}

export interface Edition {
  readonly number: number;
  readonly pin: ReportPin;
}

type Data = Pick<BatchStores, "data">;

/** The newest edition of a day, or null. */
export async function newestEdition({ data }: Data, date: string): Promise<Edition | null> {
  const names = await data.list(join("reports", "daily", date));
  const numbers = names.filter((name) => name.startsWith(PREFIX)).map((name) => Number(name.slice(PREFIX.length)));
  for (const number of numbers.sort((a, b) => b - a)) {
    const pin = await readPin({ data }, date, number);
    if (pin !== null) return { number, pin };
  }
  return null;
}

export function readPin({ data }: Data, date: string, edition: number): Promise<ReportPin | null> {
  return data.read(join(editionFolder(date, edition), PIN), ReportPin);
}

/** Fixes what an edition holds for, unless another attempt has done so; answers the pin that holds. */
export async function pinEdition({ data }: Data, date: string, edition: number, wanted: ReportPin): Promise<ReportPin> {
  await data.createExclusively(join(editionFolder(date, edition), PIN), wanted);
  return (await readPin({ data }, date, edition)) ?? wanted;
}

/** Who computed an edition last, and when; null until it has been. */
export function readStamp({ data }: Data, date: string, edition: number): Promise<ReportStamp | null> {
  return data.read(join(editionFolder(date, edition), REPORT_FILES.stamp), ReportStamp);
}

export function readDelivery({ data }: Data, date: string, edition: number): Promise<ReportDelivery | null> {
  return data.read(join(editionFolder(date, edition), DELIVERY), ReportDelivery);
}

/** Notes that a mail server has taken an edition. */
export async function noteDelivery(
  { data }: Data,
  date: string,
  edition: number,
  delivery: ReportDelivery,
): Promise<void> {
  await data.createExclusively(join(editionFolder(date, edition), DELIVERY), delivery);
}

/**
 * Whether a run may go on with an edition: it was pinned when its day was over, and its views are still defined as they were. Otherwise the
 * day gets another one.
 */
export function editionHolds({ pin }: Edition, views: Readonly<Record<string, string>>): boolean {
  const same = Object.entries(views).every(([name, generation]) => pin.views[name] === generation);
  return same && pin.pinnedAtMs >= pin.toMs;
}
