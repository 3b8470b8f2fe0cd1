import { continueAsNew, isCancellation, setCurrentDetails, workflowInfo } from "@temporalio/workflow";
import { inBackground, label, runStartedMs, secondsSince } from "./shared/run.ts";

export interface CompactArchiveInput {
  readonly stream: string;
  /** The result of earlier parts of this run: set when it continues as new. */
  readonly done?: CompactArchiveResult;
}

export interface CompactArchiveResult {
  /** How many entries were merged, and into how many. */
  readonly entries: number;
  readonly merged: number;
  /** How many files were deleted, of entries that were merged some time ago. */
  readonly swept: number;
}

/**
 * Merges small archive files of a stream into larger ones, one file an activity, until no merge is worth it. A merge
 * that fails because a file is damaged does not stop the others; the run fails at its end.
 */
export async function compactArchive({ stream, done }: CompactArchiveInput): Promise<CompactArchiveResult> {
  label({ kind: "compact-archive", stream });
  const { planCompaction, mergeEntries, sweepArchive } = inBackground();
  let { entries, merged } = done ?? { entries: 0, merged: 0 };
  const tell = (more = "") =>
    setCurrentDetails(`${stream}: ${entries} files became ${merged}, ${secondsSince(runStartedMs())} s${more}`);
  let failure: unknown = null;
  const failed = new Set<string>();
  for (;;) {
    const { topicId, merges: planned } = await planCompaction.executeWithOptions(
      { summary: `small files of ${stream}` },
      [{ stream }],
    );
    tell();
    const merges = planned.filter((merge) => !failed.has(nameOf(merge)));
    if (merges.length === 0) {
      const swept = await sweepArchive.executeWithOptions({ summary: "files that were merged some time ago" }, [
        { stream, topicId },
      ]);
      tell(`; ${swept} old files deleted`);
      if (failure !== null) throw failure;
      return { entries, merged, swept };
    }
    for (const merge of merges) {
      const summary =
        `${stream}/${merge.partition} [${merge.from}, ${merge.to}): ` +
        `${merge.entries} files, ${merge.records} records`;
      const outcome = await mergeEntries
        .executeWithOptions({ summary }, [{ stream, topicId, merge }])
        .catch((error: unknown) => {
          if (isCancellation(error)) throw error;
          failed.add(nameOf(merge));
          failure ??= error;
          return null;
        });
      if (outcome !== null) {
        entries += outcome.entries;
        merged += 1;
      }
      tell();
    }
    if (workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof compactArchive>({ stream, done: { entries, merged, swept: 0 } });
  }
}

function nameOf({ partition, from, to }: { partition: number; from: string; to: string }): string {
  return `${partition}/${from}-${to}`;
}
