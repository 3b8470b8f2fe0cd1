import {
  ApplicationFailure,
  allHandlersFinished,
  condition,
  defineUpdate,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities, NamedFailure, NamedSettled } from "../activities/activities.ts";
import { archivePlanned } from "./archive-planned.ts";
import { compactViews } from "./compact-views.ts";
import { label, STEP, secondsSince } from "./shared/run.ts";
import { settlementTable } from "./shared/settlement-table.ts";
import { startAside, startNamed } from "./shared/start-or-join.ts";

/**
 * The input of a settlement, also from Temporal's UI: `{ "stream": "orders" }`, under the id `settle/orders`. With
 * `views` (names of views, or of their generations) only those are settled.
 */
export interface SettleStreamInput {
  readonly stream: string;
  readonly views?: readonly string[];
}

export interface SettleStreamResult {
  /** The result for each view, in the order of the work. */
  readonly views: readonly NamedSettled[];
  readonly archived: number;
  /** Whether another definition of one of the views is being brought into service. */
  readonly adopting: boolean;
  readonly seconds: number;
}

/**
 * Asks a running settlement for one more round, which begins after this request; resolves when that round has ended.
 * Starts a run if there is none. A run that has had many rounds refuses the request (`isRunEnding`): ask again, and the
 * next run takes it.
 */
export const settle = defineUpdate<SettleStreamResult, [{ readonly views?: readonly string[] }]>("settle");

/** The most requests for rounds that a run takes. Without a limit its history would grow for ever. */
export const MOST_ROUNDS = 50;
/** The failure type of a request that a run refuses because it is ending. */
const RUN_ENDING = "RUN_ENDING";
/** How long a run that was started for a request waits for it. */
const FIRST_WISH_MS = 60_000;
const { planSettlement, settleViews } = proxyActivities<Activities>(STEP);

interface Wish {
  /** Null: all views. */
  readonly views: readonly string[] | null;
}

/**
 * Settles a stream: archives new records, and publishes the next version of every view that reads the stream. A view
 * that fails keeps its version and does not fail the others. The run fails at its end and names the failed views.
 */
export async function settleStream({ stream, views }: SettleStreamInput): Promise<SettleStreamResult> {
  label({ kind: "settle", stream });
  // A run that was started with a request begins without a wish: the request brings it.
  const wishes: Wish[] = views?.length === 0 ? [] : [{ views: views ?? null }];
  let begun = 0;
  let ended = 0;
  let outcome: Outcome = {
    error: refused(`nobody asked this run for anything: start it with {"stream": "${stream}"}`),
  };
  const take = async (wish: { readonly views?: readonly string[] }) => {
    wishes.push({ views: wish.views ?? null });
    // The current round has already chosen its cuts, so the next round serves this request.
    const mine = begun + 1;
    await condition(() => ended >= mine);
    return resultOf(outcome);
  };
  setHandler(settle, take, {
    validator: (_wish) => {
      if (begun >= MOST_ROUNDS || workflowInfo().continueAsNewSuggested)
        throw ApplicationFailure.nonRetryable("this run has had many rounds and is ending: ask again", RUN_ENDING);
    },
  });
  await condition(() => wishes.length > 0, FIRST_WISH_MS);
  while (wishes.length > 0) {
    const taken = wishes.splice(0);
    begun += 1;
    const all = taken.some((wish) => wish.views === null);
    try {
      outcome = await round(stream, all ? null : taken.flatMap((wish) => wish.views ?? []));
    } catch (error) {
      if (isCancellation(error)) throw error;
      outcome = { error };
    }
    ended = begun;
    await condition(() => wishes.length > 0 || allHandlersFinished());
  }
  return resultOf(outcome);
}

/** Whether a request was refused because its run is ending. */
export function isRunEnding(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof ApplicationFailure && cause.type === RUN_ENDING) return true;
  return false;
}

type Outcome = Round | { readonly error: unknown };

interface Round extends SettleStreamResult {
  readonly failures: readonly NamedFailure[];
}

/**
 * Returns the result of a round. Throws the error that ended the round, or the failure of the first view that failed.
 */
function resultOf(outcome: Outcome): SettleStreamResult {
  if ("error" in outcome) throw outcome.error;
  const { failures, ...result } = outcome;
  const [first] = failures;
  if (first === undefined) return result;
  const others = failures.length > 1 ? ` (and ${failures.length - 1} more views failed)` : "";
  throw ApplicationFailure.create({
    type: first.code,
    message: `${first.view}: ${first.message}${others}. ${first.hint}`,
    nonRetryable: true,
    details: [{ hint: first.hint, views: failures.map(({ view }) => view) }],
  });
}

function refused(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, "BAD_REQUEST");
}

/** Runs the steps of docs/internals/settlement.md: 1 and 2, then 3, then 4 to 7. */
async function round(stream: string, views: readonly string[] | null): Promise<Round> {
  const startedMs = Date.now();
  const plan = await planSettlement.executeWithOptions({ summary: `next cuts of the views of ${stream}` }, [
    { stream, views },
  ]);
  const { namespace, spans } = plan;
  for (const view of plan.adopt)
    await startNamed("adoptView", { namespace, kind: "adopt", target: view, input: { view } });
  const archived = await archivePlanned(stream, plan);
  let [settled, failures]: [readonly NamedSettled[], readonly NamedFailure[]] = [[], plan.failures];
  if (spans.length > 0) {
    const { topicId, sealedAtMs } = plan;
    const done = await settleViews.executeWithOptions({ summary: `next versions of ${spans.length} views` }, [
      { stream, topicId, spans, sealedAtMs },
    ]);
    settled = done.settled;
    failures = [...failures, ...done.failures];
  }
  const seconds = secondsSince(startedMs);
  const adopting = plan.adopt.length > 0;
  setCurrentDetails(settlementTable(plan.spans, { views: settled, failures, archived, seconds }));
  await compactAside({ stream, namespace }, settled);
  return { views: settled, failures, archived, adopting, seconds };
}

/** Starts a run that merges the small files of views, unless one is already running. */
async function compactAside(
  { stream, namespace }: { readonly stream: string; readonly namespace: string },
  settled: readonly NamedSettled[],
): Promise<void> {
  const views = settled.filter(({ foldable }) => foldable).map(({ view, generation }) => ({ view, generation }));
  if (views.length === 0) return;
  await startAside({ workflow: compactViews, namespace, kind: "compact", target: stream, input: { stream, views } });
}
