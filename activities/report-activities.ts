import { z } from "zod";
import { type Delivered, deliverEdition } from "../batch-layer/report/deliver.ts";
import { isFinal, newestEdition, pinEdition, pinOf } from "../batch-layer/report/edition.ts";
import type { Report } from "../batch-layer/report/report.ts";
import { withReportSource } from "../batch-layer/report/source.ts";
import { writeEdition } from "../batch-layer/report/write.ts";
import type { ViewTarget } from "../batch-layer/stores.ts";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import { parseInterval } from "../core/interval.ts";
import { ReportPin, type ReportPinJson } from "../core/log/documents.ts";
import { type CutJson, cutFromJson } from "../core/log/position.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, streamTarget, viewTarget } from "./deps.ts";

export interface EditionFound {
  /** The edition to continue; null if the run has to make the next one. */
  readonly edition: number | null;
  readonly next: number;
  /** TIDELINE_NAMESPACE. A run that was started by hand learns it here. */
  readonly namespace: string;
  /** The streams whose positions a new edition fixes. */
  readonly streams: readonly string[];
}

export interface EditionWanted {
  readonly date: string;
  readonly edition: number;
  /** For each stream, the positions up to which it is archived. The report reads up to there. */
  readonly streams: Readonly<Record<string, { readonly topicId: string; readonly cut: CutJson }>>;
}

export interface ReportWritten {
  readonly edition: number;
  /** The folder of the report's files, relative to the data directory. */
  readonly folder: string;
  /** The names of its files, the page first. */
  readonly files: readonly string[];
  /** The counts that the system's report returns. */
  readonly counts: Readonly<Record<string, number>>;
}

export function reportActivities(deps: ActivityDeps) {
  const { stores, definitions, namespace, logger, mail } = deps;
  return {
    /** Finds the edition of the day's report to continue, if there is one. */
    findEdition: ({ date, fresh }: { date: string; fresh: boolean }): Promise<EditionFound> =>
      attempt(deps, async () => {
        for (const view of reportOf(deps).views) await reportTarget(deps, view);
        const newest = await newestEdition(stores, date);
        const held = newest !== null && !fresh && isFinal(newest) && (await areKnown(deps, newest.pin));
        const edition = held ? newest.number : null;
        return { edition, next: (newest?.number ?? 0) + 1, namespace, streams: [...definitions.streams.keys()] };
      }),

    /** Fixes the positions and definitions of an edition. */
    pinEdition: ({ date, edition, streams }: EditionWanted): Promise<ReportPinJson> =>
      attempt(deps, async () => {
        const views: Record<string, string> = {};
        for (const view of reportOf(deps).views) views[view] = (await reportTarget(deps, view)).generation;
        const spans: ReportPin["streams"] = {};
        for (const [stream, { topicId, cut }] of Object.entries(streams)) {
          const start = await stores.archive.start(streamTarget(deps, stream).topic, topicId);
          spans[stream] = { topicId, start, cut: cutFromJson(cut) };
        }
        const wanted = { ...parseInterval(date, date), views, streams: spans, pinnedAtMs: Date.now() };
        return z.encode(ReportPin, await pinEdition(stores, date, edition, wanted));
      }),

    /** Computes an edition and writes its files. */
    writeReport: ({ date, edition }: { date: string; edition: number }): Promise<ReportWritten> =>
      attempt(deps, async (watch) => {
        const pin = await pinOf(stores, date, edition);
        const report = reportOf(deps);
        const views = await pinnedViews(deps, pin);
        const streams = Object.keys(pin.streams).map((stream) => streamTarget(deps, stream));
        const identity = { date, edition, pin: z.encode(ReportPin, pin) };
        const content = await withReportSource(stores, { views, streams }, { pin, watch }, (source) =>
          report.make(identity, source),
        );
        const stamp = { generatedAtMs: Date.now(), generatedBy: thisRun().createdBy };
        const { folder, files } = await writeEdition(stores, identity, content, stamp);
        logger.info({ date, edition, folder }, "report written");
        return { edition, folder, files, counts: content.counts };
      }),

    /** Mails the newest edition, unless that has been done. */
    mailReport: ({ date }: { date: string }): Promise<Delivered> =>
      attempt(deps, async () => {
        const delivered = await deliverEdition(stores, { namespace, date }, mail, Date.now);
        logger.info({ date, ...delivered }, "report delivered");
        return delivered;
      }),
  };
}

/**
 * Returns the definition for a new edition: the served one or, if this release does not compute that, the one in the
 * view's file. Throws VIEW_UNKNOWN.
 */
async function reportTarget(deps: ActivityDeps, view: string): Promise<ViewTarget> {
  const file = deps.definitions.views.get(view);
  try {
    return await viewTarget(deps, view);
  } catch (error) {
    if (file === undefined || !isTidelineError(error, "GENERATION_FROZEN", "GENERATION_UNREADABLE")) throw error;
    return viewTarget(deps, file.generation);
  }
}

/** Returns the system's report. Throws BAD_REQUEST if it has none. */
function reportOf({ report }: ActivityDeps): Report {
  if (report !== null) return report;
  throw new TidelineError(
    "BAD_REQUEST",
    "the system has no report",
    "A system's file system.ts says what its report is: see TIDELINE_SYSTEM in docs/operating.md.",
  );
}

/**
 * Returns the definitions that an edition was pinned with, whatever their views' files say now. Throws as `viewTarget`.
 */
async function pinnedViews(deps: ActivityDeps, { views }: ReportPin): Promise<Map<string, ViewTarget>> {
  const targets = new Map<string, ViewTarget>();
  for (const view of reportOf(deps).views) targets.set(view, await viewTarget(deps, views[view] ?? view));
  return targets;
}

/**
 * Whether the pinned definitions still exist and are computed in the same way, so that the edition's numbers can be
 * computed again.
 */
async function areKnown(deps: ActivityDeps, pin: ReportPin): Promise<boolean> {
  try {
    await pinnedViews(deps, pin);
    return true;
  } catch (error) {
    if (isTidelineError(error, "VIEW_UNKNOWN", "GENERATION_FROZEN", "GENERATION_UNREADABLE")) return false;
    throw error;
  }
}
