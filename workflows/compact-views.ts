import { isCancellation, setCurrentDetails } from "@temporalio/workflow";
import { inBackground, label, runStartedMs, secondsSince } from "./shared/run.ts";

export interface CompactViewsInput {
  readonly stream: string;
  /** The generations to compact, and the names of their views. */
  readonly views: readonly { readonly view: string; readonly generation: string }[];
}

export interface CompactViewsResult {
  /** How many files were merged. */
  readonly files: number;
  /** How many versions were published. */
  readonly versions: number;
  readonly seconds: number;
}

/**
 * Merges small state files of a stream's views, one view after the other, at the same time as the stream's settlements:
 * neither waits for the other. A view that fails does not stop the others; the run fails at its end.
 */
export async function compactViews({ stream, views }: CompactViewsInput): Promise<CompactViewsResult> {
  label({ kind: "compact", stream });
  const { compact } = inBackground();
  let [files, versions] = [0, 0];
  let failure: unknown = null;
  for (const { view, generation } of views) {
    const merged = await compact
      .executeWithOptions({ summary: `small files of ${view}` }, [{ view: generation }])
      .catch((error: unknown) => {
        if (isCancellation(error)) throw error;
        failure ??= error;
        return null;
      });
    if (merged === null) continue;
    files += merged.folded;
    versions += 1;
    setCurrentDetails(`${files} files merged in ${versions} of ${views.length} views of ${stream}`);
  }
  if (failure !== null) throw failure;
  return { files, versions, seconds: secondsSince(runStartedMs()) };
}
