import { type Client, ScheduleNotFoundError, type ScheduleOptions, ScheduleOverlapPolicy } from "@temporalio/client";

/** A schedule as data: every `everyMs`, shifted by `offsetMs`, one workflow. */
export interface DesiredSchedule {
  readonly id: string;
  readonly everyMs: number;
  readonly offsetMs: number;
  readonly workflowType: string;
  readonly workflowId: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly summary: string;
}

export interface SchedulePlace {
  readonly taskQueue: string;
  /** Whose schedules these are: written into their memo, by which they are recognised. */
  readonly owner: string;
}

export interface Reconciled {
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly deleted: readonly string[];
}

/**
 * A run that a worker missed while it was down is not caught up: the next one does its work too. 10 seconds is the
 * least that Temporal takes.
 */
const CATCHUP_WINDOW = "10 seconds";
const OWNER = "tideline";

/**
 * Makes the schedules in Temporal those of `desired`: creates, updates, deletes those of ours that are gone. A paused
 * one stays paused.
 */
export async function reconcileSchedules(
  { schedule }: Client,
  desired: readonly DesiredSchedule[],
  place: SchedulePlace,
): Promise<Reconciled> {
  const wanted = new Set(desired.map(({ id }) => id));
  const created: string[] = [];
  const updated: string[] = [];
  for (const one of desired) ((await put(schedule, one, place)) ? created : updated).push(one.id);
  const deleted: string[] = [];
  for await (const { scheduleId, memo } of schedule.list()) {
    if (memo?.[OWNER] !== place.owner || wanted.has(scheduleId)) continue;
    await schedule.getHandle(scheduleId).delete().catch(ignoreAbsent);
    deleted.push(scheduleId);
  }
  return { created, updated, deleted };
}

/** True: created; false: it was there, and has been brought up to date. */
async function put(schedule: Client["schedule"], desired: DesiredSchedule, place: SchedulePlace): Promise<boolean> {
  const options = scheduleOptions(desired, place);
  try {
    await schedule
      .getHandle(desired.id)
      .update(({ state }) => ({ spec: options.spec, action: options.action, policies: options.policies ?? {}, state }));
    return false;
  } catch (error) {
    ignoreAbsent(error);
    await schedule.create(options);
    return true;
  }
}

function scheduleOptions(
  { id, everyMs, offsetMs, workflowType, workflowId, input, summary }: DesiredSchedule,
  { taskQueue, owner }: SchedulePlace,
): ScheduleOptions {
  return {
    scheduleId: id,
    spec: { intervals: [{ every: everyMs, offset: offsetMs }] },
    action: { type: "startWorkflow", workflowType, workflowId, args: [input], taskQueue, staticSummary: summary },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCHUP_WINDOW },
    memo: { [OWNER]: owner },
  };
}

function ignoreAbsent(error: unknown): void {
  if (!(error instanceof ScheduleNotFoundError)) throw error;
}
