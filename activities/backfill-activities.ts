import { z } from "zod";
import {
  type Backfill,
  type BackfillSurvey,
  backfillDay,
  beginBackfill,
  clearBackfill,
  surveyBackfill,
} from "../batch-layer/recompute/backfill.ts";
import { type BackfillResult, finishBackfill } from "../batch-layer/recompute/backfill-finish.ts";
import type { BackfillDay } from "../batch-layer/recompute/backfill-plan.ts";
import { parseInterval } from "../core/interval.ts";
import { BackfillPin, type BackfillPinJson } from "../core/log/documents.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, viewTarget } from "./deps.ts";

export type BackfillJson = Omit<Backfill, "pin"> & { readonly pin: BackfillPinJson };

export interface BackfillPlanned extends BackfillSurvey {
  /** The generation that the view's name meant when the run began. */
  readonly generation: string;
  readonly stream: string;
  readonly backfill: BackfillJson;
}

export interface BackfillDayInput {
  readonly view: string;
  readonly backfill: BackfillJson;
  readonly day: BackfillDay;
}

export interface BackfillFinishInput {
  readonly view: string;
  readonly backfill: BackfillJson;
  readonly days: readonly BackfillDay[];
  readonly force: boolean;
}

export function backfillActivities(deps: ActivityDeps) {
  const { stores } = deps;
  return {
    /** Returns the version that the backfill is built on, the interval by day, and the days that are done already. */
    planBackfill: ({ view, from, to }: { view: string; from: string; to: string }): Promise<BackfillPlanned> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, view);
        const backfill = await beginBackfill(stores, target, parseInterval(from, to));
        return {
          generation: target.generation,
          stream: target.stream.name,
          backfill: { ...backfill, pin: z.encode(BackfillPin, backfill.pin) },
          ...(await surveyBackfill(stores, target, backfill, watch)),
        };
      }),

    backfillDay: ({ view, backfill, day }: BackfillDayInput): Promise<{ readonly rows: number }> =>
      attempt(deps, async (watch) =>
        backfillDay(stores, await viewTarget(deps, view), { backfill: backfillFromJson(backfill), ...day }, watch),
      ),

    finishBackfill: ({ view, backfill, days, force }: BackfillFinishInput): Promise<BackfillResult> =>
      attempt(deps, async (watch) => {
        const { createdBy } = thisRun();
        const work = { backfill: backfillFromJson(backfill), days, createdBy, force };
        return finishBackfill(stores, await viewTarget(deps, view), work, watch);
      }),

    clearBackfill: ({ view, name }: { view: string; name: string }): Promise<void> =>
      attempt(deps, async () => clearBackfill(stores, await viewTarget(deps, view), name)),
  };
}

function backfillFromJson(backfill: BackfillJson): Backfill {
  return { ...backfill, pin: z.decode(BackfillPin, backfill.pin) };
}
