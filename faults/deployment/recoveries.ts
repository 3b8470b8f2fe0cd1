import { pause } from "../../store/pause.ts";
import type { Answer } from "../model/answer.ts";
import { positionsOf, reaches } from "../model/judge.ts";
import type { Positions } from "../model/view-fold.ts";
import type { Deployment } from "./deployment.ts";

/** A fault, and how long it took until every view was right and fresh again. */
export interface Recovery {
  readonly scenario: string;
  readonly kind: string;
  readonly startedMs: number;
  /** Null while it is not over. */
  recoveredMs: number | null;
}

interface Watch {
  readonly ends: Positions;
  readonly by: "applied" | "cut";
  readonly deployment: Deployment;
  /** Views that have not come so far. */
  readonly views: Set<string>;
  readonly done: () => void;
}

/** Watches the answers: when has every view come beyond where the log ended at some moment? */
export class Recoveries {
  readonly all: Recovery[] = [];
  readonly #watches = new Set<Watch>();

  onAnswer(deployment: Deployment, view: string, answer: Answer): void {
    if (!answer.complete) return;
    for (const watch of this.#watches) {
      if (watch.deployment !== deployment || !watch.views.has(view)) continue;
      if (!reaches(positionsOf(answer.position[watch.by]), watch.ends)) continue;
      watch.views.delete(view);
      if (watch.views.size === 0) {
        this.#watches.delete(watch);
        watch.done();
      }
    }
  }

  /** A fault happened now. */
  fault(scenario: string, kind: string, deployment: Deployment, by: Watch["by"]): void {
    const recovery: Recovery = { scenario, kind, startedMs: performance.now(), recoveredMs: null };
    this.all.push(recovery);
    this.#watch(deployment, by, () => {
      recovery.recoveredMs = performance.now() - recovery.startedMs;
    });
  }

  /**
   * Waits until every view has given a complete answer beyond the log's end of now: with its applied positions, or with
   * its cut. Answers with the views that have not, which is none when all have.
   */
  async beyond(
    deployment: Deployment,
    by: Watch["by"],
    limitMs: number,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const reached = new AbortController();
    const watch = this.#watch(deployment, by, () => reached.abort());
    await pause(limitMs, { signal: AbortSignal.any([signal, reached.signal]) });
    this.#watches.delete(watch);
    signal.throwIfAborted();
    return [...watch.views];
  }

  #watch(deployment: Deployment, by: Watch["by"], done: () => void): Watch {
    const watch = { ends: deployment.oracle.ends, by, deployment, views: new Set(deployment.oracle.views), done };
    this.#watches.add(watch);
    return watch;
  }
}

/** The value below which a share of `values` lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
