import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from "@temporalio/client";

/** Every `everyMs`, shifted by `offsetMs`; or by a cron expression, in UTC. */
type When = { readonly everyMs: number; readonly offsetMs: number } | { readonly cron: string };

/** A schedule as data: when it starts which workflow. */
export type DesiredSchedule = When & {
  readonly id: string;
  readonly workflowType: string;
  readonly workflowId: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly summary: string;
  /** A run that has not ended by then is ended, so that it cannot keep the next ones from their work for ever. */
  readonly timeoutMs: number;
};

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
 * A run of an interval that was missed while Temporal was down is not caught up: the next one does its work too. 10
 * seconds is the least that Temporal takes.
 */
const EVERY_SO_OFTEN = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: "10 seconds" } as const;

/** Each run of a cron expression is work of its own: it is caught up, one after the other. */
const AT_ITS_TIME = { overlap: ScheduleOverlapPolicy.BUFFER_ALL, catchupWindow: "7 days" } as const;
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

/** Which of `desired` Temporal does not have. */
export async function missingSchedules(
  { schedule }: Client,
  desired: readonly DesiredSchedule[],
): Promise<DesiredSchedule[]> {
  if (desired.length === 0) return [];
  const listed = new Set<string>();
  for await (const { scheduleId } of schedule.list()) listed.add(scheduleId);
  const unlisted = desired.filter(({ id }) => !listed.has(id));
  // The list is behind by a moment: a schedule that it lacks may have been made just now.
  const there = await Promise.all(unlisted.map(({ id }) => hasSchedule({ schedule }, id)));
  return unlisted.filter((_, index) => !there[index]);
}

/** Whether Temporal has a schedule of this id. */
export async function hasSchedule({ schedule }: Pick<Client, "schedule">, id: string): Promise<boolean> {
  try {
    await schedule.getHandle(id).describe();
    return true;
  } catch (error) {
    ignoreAbsent(error);
    return false;
  }
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
    return create(schedule, options);
  }
}

/** False: another worker that starts just now was first, and wants the same. */
async function create(schedule: Client["schedule"], options: ScheduleOptions): Promise<boolean> {
  try {
    await schedule.create(options);
    return true;
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return false;
    throw error;
  }
}

function scheduleOptions(desired: DesiredSchedule, { taskQueue, owner }: SchedulePlace): ScheduleOptions {
  const { id, workflowType, workflowId, input, summary, timeoutMs } = desired;
  const isCron = "cron" in desired;
  return {
    scheduleId: id,
    spec: isCron
      ? { cronExpressions: [desired.cron], timezone: "UTC" }
      : { intervals: [{ every: desired.everyMs, offset: desired.offsetMs }] },
    action: {
      type: "startWorkflow",
      workflowType,
      workflowId,
      args: [input],
      taskQueue,
      staticSummary: summary,
      workflowExecutionTimeout: timeoutMs,
    },
    policies: isCron ? AT_ITS_TIME : EVERY_SO_OFTEN,
    memo: { [OWNER]: owner },
  };
}

function ignoreAbsent(error: unknown): void {
  if (!(error instanceof ScheduleNotFoundError)) throw error;
}
