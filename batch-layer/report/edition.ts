import { join } from "node:path";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { ReportDelivery, ReportPin } from "../../core/log/documents.ts";
import type { BatchStores } from "../stores.ts";

/**
 * The files of a day's report, in `reports/daily/<date>/edition-<number>/`. An edition begins with its pin. A day has
 * one edition, and a further one each time that somebody wants the numbers as they are now.
 */

/** The page of every report. */
export const PAGE = "report.html";
/** The document that says when and by what an edition was computed. It is written last. */
export const STAMP = "stamp.json";
const PIN = "pin.json";
const DELIVERY = "delivered.json";
const OWN: ReadonlySet<string> = new Set([PAGE, STAMP, PIN, DELIVERY]);

/** Whether a system may give this name to a file of its report. The page's name is taken. */
export function fileOfReport(name: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,62}\.(csv|json|txt)$/.test(name) && !OWN.has(name);
}

const PREFIX = "edition-";

export function editionFolder(date: string, edition: number): string {
  return join("reports", "daily", date, `${PREFIX}${edition}`);
}

export interface Edition {
  readonly number: number;
  readonly pin: ReportPin;
}

type Data = Pick<BatchStores, "data">;

/** Returns the editions of a day, the newest first. */
async function editionsOf({ data }: Data, date: string): Promise<Edition[]> {
  const editions: Edition[] = [];
  for (const name of await data.list(join("reports", "daily", date))) {
    const number = Number(name.slice(PREFIX.length));
    const pin = name.startsWith(PREFIX) ? await readPin({ data }, date, number) : null;
    if (pin !== null) editions.push({ number, pin });
  }
  return editions.sort((a, b) => b.number - a.number);
}

/** Returns the newest edition of a day, or null. */
export async function newestEdition(stores: Data, date: string): Promise<Edition | null> {
  return (await editionsOf(stores, date))[0] ?? null;
}

/** Returns the newest edition of a day that is completely written, or null. */
export async function newestWritten(stores: Data, date: string): Promise<Edition | null> {
  for (const edition of await editionsOf(stores, date))
    if (await stores.data.has(join(editionFolder(date, edition.number), STAMP))) return edition;
  return null;
}

function readPin({ data }: Data, date: string, edition: number): Promise<ReportPin | null> {
  return data.read(join(editionFolder(date, edition), PIN), ReportPin);
}

/** Returns an edition's pin. Throws BAD_REQUEST if there is no such edition. */
export async function pinOf(stores: Data, date: string, edition: number): Promise<ReportPin> {
  const pin = await readPin(stores, date, edition);
  if (pin !== null) return pin;
  throw new TidelineError("BAD_REQUEST", `${date} has no edition ${edition}`, "Start the report again.");
}

/** Fixes the positions of an edition, unless another attempt has done so. Returns the pin that counts. */
export async function pinEdition({ data }: Data, date: string, edition: number, wanted: ReportPin): Promise<ReportPin> {
  await data.createExclusively(join(editionFolder(date, edition), PIN), z.encode(ReportPin, wanted));
  return pinOf({ data }, date, edition);
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

/** Whether an edition was pinned after its day was over. If it was not, the next run makes another edition. */
export function isFinal({ pin }: Edition): boolean {
  return pin.pinnedAtMs >= pin.toMs;
}
