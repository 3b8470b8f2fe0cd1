import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from "@temporalio/client";

/** Either every `everyMs`, shifted by `offsetMs`, or by a cron expression in UTC. */
type When = { readonly everyMs: number; readonly offsetMs: number } | { readonly cron: string };

/** A schedule as data: its times and its workflow. */
export type DesiredSchedule = When & {
  readonly id: string;
  readonly workflowType: string;
  readonly workflowId: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly summary: string;
  /** A run that has not ended after this time is ended, so that it cannot block the next ones for ever. */
  readonly timeoutMs: number;
};

export interface SchedulePlace {
  readonly taskQueue: string;
  /** The owner of these schedules. It is written into their memo, by which they are recognised. */
  readonly owner: string;
}

export interface Reconciled {
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly deleted: readonly string[];
}

/**
 * Runs of an interval that were missed while Temporal was down are not made up for: the next run does their work too.
 * 10 seconds is the least that Temporal accepts.
 */
const EVERY_SO_OFTEN = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: "10 seconds" } as const;

/** Each run of a cron expression is work of its own, so missed runs are made up for, one after the other. */
const AT_ITS_TIME = { overlap: ScheduleOverlapPolicy.BUFFER_ALL, catchupWindow: "7 days" } as const;
const OWNER = "tideline";

/**
 * Makes the owner's schedules in Temporal equal to `desired`: creates, updates and deletes. A paused schedule stays
 * paused.
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

/** Returns the schedules of `desired` that Temporal does not have. */
export async function missingSchedules(
  { schedule }: Client,
  desired: readonly DesiredSchedule[],
): Promise<DesiredSchedule[]> {
  if (desired.length === 0) return [];
  const listed = new Set<string>();
  for await (const { scheduleId } of schedule.list()) listed.add(scheduleId);
  const unlisted = desired.filter(({ id }) => !listed.has(id));
  // Temporal's list is a moment late: a schedule that it lacks may just have been created.
  const there = await Promise.all(unlisted.map(({ id }) => hasSchedule({ schedule }, id)));
  return unlisted.filter((_, index) => !there[index]);
}

/** Whether Temporal has a schedule with this id. */
export async function hasSchedule({ schedule }: Pick<Client, "schedule">, id: string): Promise<boolean> {
  try {
    await schedule.getHandle(id).describe();
    return true;
  } catch (error) {
    ignoreAbsent(error);
    return false;
  }
}

/** Returns true if the schedule was created, false if it existed and was updated. */
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

/** Returns false if another worker, which starts at the same time, has created it. */
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
