import { type Client, ScheduleNotFoundError, type WorkflowExecutionInfo } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { type Failure, SAME_REASON } from "../../core/failures.ts";
import { formatTime } from "../../core/time.ts";
import { STREAM_KINDS } from "../../workflows/shared/names.ts";
import { saidBy } from "../said-by.ts";

/** The installation whose work is checked. */
export interface WorkPlace {
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
  readonly taskQueue: string;
  /** The views that a stream feeds. */
  readonly viewsOf: (stream: string) => readonly string[];
}

type Reason = Pick<Failure, "code" | "message" | "hint">;

/** Codes for failures that Temporal itself raises. */
const TASK_FAILED = "WORKFLOW_TASK_FAILED";
const TIMED_OUT = "TIMED_OUT";

/** A run this young cannot have failed three times. */
const YOUNG_MS = 5_000;
/** Schedules run once a day at least. */
const LOOK_BACK_MS = 4 * 86_400_000;
/** No installation has more runs at once, or more failing schedules. A later check finds the rest. */
const MOST_RUNS = 200;
const MOST_SCHEDULES = 100;

/**
 * Returns what fails again and again in Temporal: schedules whose last three runs failed or timed out, and runs whose
 * workflow task or activity has failed three times. Makes two requests while all is well, and one more for each run
 * that is some seconds old.
 */
export async function failingWork(client: Client, place: WorkPlace, nowMs = Date.now()): Promise<Failure[]> {
  const [runs, schedules, settlements] = await Promise.all([
    failingRuns(client, place, nowMs),
    failingSchedules(client, place, nowMs),
    failingSettlements(client, place, nowMs),
  ]);
  return [...runs, ...schedules, ...settlements];
}

/** Returns the running workflows whose workflow task or activity has failed three times. */
export async function failingRuns(client: Client, place: WorkPlace, nowMs = Date.now()): Promise<Failure[]> {
  const query =
    `TaskQueue = '${place.taskQueue}' AND ExecutionStatus = 'Running' AND ` +
    `StartTime < '${formatTime(nowMs - YOUNG_MS)}'`;
  const found: Failure[] = [];
  for (const run of await firstOf(client, query, MOST_RUNS)) {
    const failure = await failingRun(client, place, run, nowMs);
    if (failure !== null) found.push(failure);
  }
  return found;
}

async function failingRun(
  client: Client,
  place: WorkPlace,
  { workflowId, runId }: WorkflowExecutionInfo,
  nowMs: number,
): Promise<Failure | null> {
  const { workflow } = client;
  // The run may have ended in between, and its history may be deleted.
  const described = await workflow
    .getHandle(workflowId, runId)
    .describe()
    .catch(() => null);
  if (described === null || described.status.name !== "RUNNING") return null;
  const { pendingWorkflowTask: task, pendingActivities } = described.raw;
  const name = withoutNamespace(place, workflowId);
  const failing = { kind: "workflow", name, views: viewsOfRun(place, name), atMs: nowMs } as const;
  const taskFailures = (task?.attempt ?? 1) - 1;
  if (taskFailures >= SAME_REASON) {
    const sinceMs = timeOf(task?.originalScheduledTime) ?? nowMs;
    return { ...failing, ...(await taskReason(client, workflowId, runId, name)), failures: taskFailures, sinceMs };
  }
  const activity = pendingActivities?.find((one) => (one.attempt ?? 1) > SAME_REASON && one.lastFailure);
  if (!activity?.lastFailure) return null;
  const { message, applicationFailureInfo } = activity.lastFailure;
  return {
    ...failing,
    code: codeOf(applicationFailureInfo?.type),
    message: `${activity.activityType?.name}: ${message}`,
    hint: "It is tried again by itself. The worker's log, and the run in Temporal's UI, have more.",
    failures: (activity.attempt ?? 1) - 1,
    sinceMs: timeOf(activity.lastStartedTime) ?? nowMs,
  };
}

/**
 * Returns why the workflow task of a run fails, from its newest event. Later attempts at the same task add no event.
 */
async function taskReason(client: Client, workflowId: string, runId: string, name: string): Promise<Reason> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 20,
  });
  const failed = history?.events?.find(({ workflowTaskFailedEventAttributes }) => workflowTaskFailedEventAttributes);
  const message =
    failed?.workflowTaskFailedEventAttributes?.failure?.message ?? "no worker completes its workflow task";
  return {
    code: TASK_FAILED,
    message,
    hint:
      "Workers of this release cannot continue with it. Start a worker of the release that began it until it " +
      `has ended, or end it: \`tideline runs end ${name}\`; the next run starts from the beginning.`,
  };
}

/** Finds schedules by their failed runs. Asks again without the schedules that are known, until there are no more. */
async function failingSchedules(client: Client, place: WorkPlace, nowMs: number): Promise<Failure[]> {
  const known = new Set<string>();
  const failed =
    `TaskQueue = '${place.taskQueue}' AND WorkflowType = 'scheduledRun' AND ExecutionStatus IN ` +
    `('Failed', 'TimedOut') AND CloseTime > '${formatTime(nowMs - LOOK_BACK_MS)}'`;
  while (known.size < MOST_SCHEDULES) {
    const others = [...known].map((id) => ` AND TemporalScheduledById != '${id}'`).join("");
    const ids = (await firstOf(client, failed + others, 50)).flatMap(scheduleOf).filter((id) => !known.has(id));
    if (ids.length === 0) break;
    for (const id of ids) known.add(id);
  }
  const found = await Promise.all([...known].map((id) => failingSchedule(client, place, id, nowMs)));
  return found.filter((one) => one !== null);
}

async function failingSchedule(client: Client, place: WorkPlace, id: string, nowMs: number): Promise<Failure | null> {
  const closed = `TemporalScheduledById = '${id}' AND ExecutionStatus != 'Running'`;
  const runs = await firstOf(client, closed, SAME_REASON);
  const [newest] = runs;
  const failed = runs.every(({ status: { name } }) => name === "FAILED" || name === "TIMED_OUT");
  if (newest === undefined || runs.length < SAME_REASON || !failed) return null;
  const schedule = await client.schedule
    .getHandle(id)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof ScheduleNotFoundError) return null;
      throw error;
    });
  // A paused schedule is not a problem.
  if (schedule === null || schedule.state.paused) return null;
  const name = withoutNamespace(place, id);
  return {
    kind: "schedule",
    name,
    ...(await runReason(client, newest)),
    views: viewsOfSchedule(place, schedule.action.args),
    failures: SAME_REASON,
    sinceMs: Math.min(...runs.map(({ startTime }) => startTime.getTime())),
    atMs: nowMs,
  };
}

/** Returns the streams whose last three settlements failed. Workers start settlements without a schedule. */
async function failingSettlements(client: Client, place: WorkPlace, nowMs: number): Promise<Failure[]> {
  const known = new Set<string>();
  const failed =
    `TaskQueue = '${place.taskQueue}' AND WorkflowType = 'settleStream' AND ExecutionStatus IN ` +
    `('Failed', 'TimedOut') AND CloseTime > '${formatTime(nowMs - LOOK_BACK_MS)}'`;
  while (known.size < MOST_SCHEDULES) {
    const others = [...known].map((id) => ` AND WorkflowId != '${id}'`).join("");
    const ids = (await firstOf(client, failed + others, 50)).map(({ workflowId }) => workflowId);
    if (ids.length === 0) break;
    for (const id of ids) known.add(id);
  }
  const found = await Promise.all([...known].map((id) => failingSettlement(client, place, id, nowMs)));
  return found.filter((one) => one !== null);
}

async function failingSettlement(client: Client, place: WorkPlace, id: string, nowMs: number): Promise<Failure | null> {
  const runs = await firstOf(client, `WorkflowId = '${id}' AND ExecutionStatus != 'Running'`, SAME_REASON);
  const [newest] = runs;
  const failed = runs.every(({ status: { name } }) => name === "FAILED" || name === "TIMED_OUT");
  if (newest === undefined || runs.length < SAME_REASON || !failed) return null;
  const name = withoutNamespace(place, id);
  const { views, ...reason } = await runReason(client, newest);
  return {
    kind: "workflow",
    name,
    views: views.length > 0 ? views : viewsOfRun(place, name),
    ...reason,
    failures: SAME_REASON,
    sinceMs: Math.min(...runs.map(({ startTime }) => startTime.getTime())),
    atMs: nowMs,
  };
}

/** Returns why a run failed: the innermost failure of an activity or a workflow. */
async function runReason(
  client: Client,
  { workflowId, runId, status }: WorkflowExecutionInfo,
): Promise<Reason & { readonly views: readonly string[] }> {
  const hint =
    "`tideline runs` shows whether another run is under way; the log of `tideline worker` has the whole error.";
  if (status.name === "TIMED_OUT") return { code: TIMED_OUT, message: "its run did not end in time", hint, views: [] };
  const error: unknown = await client.workflow
    .getHandle(workflowId, runId, { followRuns: false })
    .result()
    .catch((failure: unknown) => failure);
  let reason: Reason = { code: "UNEXPECTED", message: error instanceof Error ? error.message : "it failed", hint };
  let views: readonly string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (!(cause instanceof ApplicationFailure)) continue;
    reason = { code: codeOf(cause.type), ...saidBy(cause, hint) };
    views = viewsIn(cause);
  }
  return { ...reason, views };
}

/** Returns the views that a settlement's failure names. */
function viewsIn({ details }: ApplicationFailure): readonly string[] {
  const [detail] = details ?? [];
  if (typeof detail !== "object" || detail === null || !("views" in detail) || !Array.isArray(detail.views)) return [];
  return detail.views.map(String);
}

/** An error without a code has the name of its class as type. */
function codeOf(type: string | null | undefined): string {
  return type !== null && type !== undefined && /^[A-Z][A-Z_]+$/.test(type) ? type : "UNEXPECTED";
}

/** `rebuild/revenue` concerns the view revenue, `archive/orders` every view of orders. */
function viewsOfRun({ viewsOf }: WorkPlace, name: string): string[] {
  const [kind = "", target = ""] = name.split("/");
  return viewsOfWork(viewsOf, kind, target);
}

function viewsOfSchedule({ viewsOf }: WorkPlace, args: readonly unknown[] | undefined): string[] {
  const [input] = (args ?? []) as { kind?: string; target?: string }[];
  return viewsOfWork(viewsOf, input?.kind ?? "", input?.target ?? "");
}

function viewsOfWork(viewsOf: WorkPlace["viewsOf"], kind: string, target: string): string[] {
  if (STREAM_KINDS.some((one) => one === kind)) return [...viewsOf(target)];
  return ["rebuild", "backfill", "adopt"].includes(kind) ? [target] : [];
}

function scheduleOf({ searchAttributes }: WorkflowExecutionInfo): string[] {
  const [id] = searchAttributes.TemporalScheduledById ?? [];
  return typeof id === "string" ? [id] : [];
}

async function firstOf(client: Client, query: string, count: number): Promise<WorkflowExecutionInfo[]> {
  const found: WorkflowExecutionInfo[] = [];
  for await (const one of client.workflow.list({ query, pageSize: count })) {
    found.push(one);
    if (found.length === count) break;
  }
  return found;
}

/** Returns the id of a workflow or schedule without the installation's namespace. */
export function withoutNamespace({ namespace }: Pick<WorkPlace, "namespace">, id: string): string {
  return namespace !== "" && id.startsWith(`${namespace}/`) ? id.slice(namespace.length + 1) : id;
}

function timeOf(time: { seconds?: unknown } | null | undefined): number | null {
  return time === null || time === undefined ? null : Number(time.seconds ?? 0) * 1_000;
}
