import { type Delivered, deliverEdition } from "../batch-layer/report/deliver.ts";
import { isFinal, newestEdition, pinEdition, pinOf } from "../batch-layer/report/edition.ts";
import { writeEdition } from "../batch-layer/report/write.ts";
import type { ViewTarget } from "../batch-layer/stores.ts";
import { isTidelineError } from "../core/errors.ts";
import { parseInterval } from "../core/interval.ts";
import type { ReportPin } from "../core/log/documents.ts";
import { type CutJson, cutToJson } from "../core/log/position.ts";
import { reportNumbers } from "../systems/shop/report/numbers.ts";
import { REPORT_VIEWS } from "../workflows/shared/names.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, streamTarget, viewTarget } from "./deps.ts";

export interface EditionFound {
  /** The edition that a run goes on with; null when it has to make the next one. */
  readonly edition: number | null;
  readonly next: number;
  /** TIDELINE_NAMESPACE, so that a run that somebody started by hand knows it. */
  readonly namespace: string;
  /** The streams that a new edition is pinned at. */
  readonly streams: readonly string[];
}

export interface EditionWanted {
  readonly date: string;
  readonly edition: number;
  /** How far each stream is archived, and will be read. */
  readonly streams: Readonly<Record<string, { readonly topicId: string; readonly cut: CutJson }>>;
}

export interface ReportWritten {
  readonly edition: number;
  /** Of the report's files, relative to the data directory. */
  readonly folder: string;
  readonly orders: number;
  readonly products: number;
}

export function reportActivities(deps: ActivityDeps) {
  const { stores, definitions, namespace, logger, mail } = deps;
  return {
    /** Which edition of the day's report there is to go on with. */
    findEdition: ({ date, fresh }: { date: string; fresh: boolean }): Promise<EditionFound> =>
      attempt(deps, async () => {
        for (const view of REPORT_VIEWS) await reportTarget(deps, view);
        const newest = await newestEdition(stores, date);
        const held = newest !== null && !fresh && isFinal(newest) && (await areKnown(deps, newest.pin));
        const edition = held ? newest.number : null;
        return { edition, next: (newest?.number ?? 0) + 1, namespace, streams: [...definitions.streams.keys()] };
      }),

    /** Fixes what an edition holds for. */
    pinEdition: ({ date, edition, streams }: EditionWanted): Promise<ReportPin> =>
      attempt(deps, async () => {
        const views: Record<string, string> = {};
        for (const view of REPORT_VIEWS) views[view] = (await reportTarget(deps, view)).generation;
        const spans: ReportPin["streams"] = {};
        for (const [stream, { topicId, cut }] of Object.entries(streams)) {
          const start = await stores.archive.start(streamTarget(deps, stream).topic, topicId);
          spans[stream] = { topicId, start: cutToJson(start), cut };
        }
        const wanted = { ...parseInterval(date, date), views, streams: spans, pinnedAtMs: Date.now() };
        return pinEdition(stores, date, edition, wanted);
      }),

    /** Computes an edition and writes its files. */
    writeReport: ({ date, edition }: { date: string; edition: number }): Promise<ReportWritten> =>
      attempt(deps, async (watch) => {
        const pin = await pinOf(stores, date, edition);
        const [sales, products] = [await pinnedView(deps, pin, 0), await pinnedView(deps, pin, 1)];
        const streams = Object.keys(pin.streams).map((stream) => streamTarget(deps, stream));
        const numbers = await reportNumbers(stores, { sales, products, streams }, pin, watch);
        const stamp = { generatedAtMs: Date.now(), generatedBy: thisRun().createdBy };
        const { folder } = await writeEdition(stores, { date, edition, pin }, numbers, stamp);
        logger.info({ date, edition, folder }, "report written");
        const orders = Number(numbers.sales.day.orders ?? 0);
        return { edition, folder, orders, products: numbers.products.length };
      }),

    /** Mails the newest edition, unless that has been done. */
    mailReport: ({ date }: { date: string }): Promise<Delivered> =>
      attempt(deps, async () => {
        const delivered = await deliverEdition(stores, { namespace, date }, mail, Date.now);
        logger.info({ date, ...delivered }, "report delivery");
        return delivered;
      }),
  };
}

/** What a new edition is computed with: what is served or, when this release does not compute that, what the view's file says. Throws VIEW_UNKNOWN. */
async function reportTarget(deps: ActivityDeps, view: string): Promise<ViewTarget> {
  const file = deps.definitions.views.get(view);
  try {
    return await viewTarget(deps, view);
  } catch (error) {
    if (file === undefined || !isTidelineError(error, "GENERATION_FROZEN", "GENERATION_UNREADABLE")) throw error;
    return viewTarget(deps, file.generation);
  }
}

/** The definition that an edition was pinned with, whatever its view's file says now. Throws as `viewTarget`. */
function pinnedView(deps: ActivityDeps, { views }: ReportPin, index: 0 | 1): Promise<ViewTarget> {
  const view = REPORT_VIEWS[index];
  return viewTarget(deps, views[view] ?? view);
}

/** Whether the views that an edition was pinned with are still known and computed alike, so that its numbers can be computed again. */
async function areKnown(deps: ActivityDeps, pin: ReportPin): Promise<boolean> {
  try {
    await pinnedView(deps, pin, 0);
    await pinnedView(deps, pin, 1);
    return true;
  } catch (error) {
    if (isTidelineError(error, "VIEW_UNKNOWN", "GENERATION_FROZEN", "GENERATION_UNREADABLE")) return false;
    throw error;
  }
}
