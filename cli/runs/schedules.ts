import { type Client, ScheduleNotFoundError, type ScheduleSummary } from "@temporalio/client";
import { TidelineError } from "../../core/errors.ts";
import { formatDuration } from "../../core/time.ts";
import { isScheduleOf } from "../../workflows/shared/names.ts";
import type { Config } from "../setup/config.ts";
import { connectTemporal } from "../setup/temporal.ts";
import { instantText, print } from "../terminal/sheet.ts";

interface ScheduleRow {
  readonly schedule: string;
  readonly paused: boolean;
  /** "every 1m", or cron expressions. */
  readonly when: string;
  readonly nextRun: string | null;
  /** The newest first. `result` is Temporal's word for how the run ended, or RUNNING. */
  readonly lastRuns: readonly { readonly at: string; readonly result: string }[];
  readonly note: string | null;
}

/** How many runs of a schedule are shown. */
const RUNS = 3;

/** Prints the schedules of this installation. */
export async function listSchedules(config: Config, json: boolean): Promise<void> {
  const client = await connectTemporal(config);
  try {
    const rows: ScheduleRow[] = [];
    for await (const summary of client.schedule.list()) {
      if (isScheduleOf(config.namespace, summary.scheduleId)) rows.push(await describe(client, config, summary));
    }
    rows.sort((a, b) => a.schedule.localeCompare(b.schedule));
    const sheet = {
      head: ["schedule", "runs", "paused", "next run", "last runs"],
      right: [],
      rows: rows.map((row) => [
        row.schedule,
        row.when,
        row.paused ? `yes: ${row.note ?? ""}` : "no",
        row.nextRun ?? "-",
        row.lastRuns.map(({ at, result }) => `${at} ${result}`).join("\n") || "-",
      ]),
    };
    await print(json, rows, sheet, "no schedules: `tideline worker` creates them");
  } finally {
    await client.connection.close();
  }
}

/** Does something with one schedule; its name may have the namespace or not. Throws SCHEDULE_UNKNOWN. */
export async function withSchedule(
  config: Config,
  name: string,
  act: (handle: ReturnType<Client["schedule"]["getHandle"]>) => Promise<void>,
): Promise<void> {
  const client = await connectTemporal(config);
  const { namespace } = config;
  const id = namespace === "" || name.startsWith(`${namespace}/`) ? name : `${namespace}/${name}`;
  try {
    await act(client.schedule.getHandle(id));
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    const hint = "`tideline schedules` lists them.";
    throw new TidelineError("SCHEDULE_UNKNOWN", `there is no schedule "${name}"`, hint, { cause: error });
  } finally {
    await client.connection.close();
  }
}

async function describe(
  client: Client,
  { namespace }: Config,
  { scheduleId, state, spec, info }: ScheduleSummary,
): Promise<ScheduleRow> {
  const recent = info.recentActions.slice(-RUNS).reverse();
  return {
    schedule: namespace === "" ? scheduleId : scheduleId.slice(namespace.length + 1),
    paused: state.paused,
    when: whenText(spec),
    nextRun: state.paused ? null : instantOf(info.nextActionTimes[0]),
    lastRuns: await Promise.all(
      recent.map(async ({ scheduledAt, action }) => ({
        at: instantText(scheduledAt.getTime()),
        result: await resultOf(client, action.workflow),
      })),
    ),
    note: state.note ?? null,
  };
}

const instantOf = (time: Date | undefined) => (time === undefined ? null : instantText(time.getTime()));

function whenText(spec: ScheduleSummary["spec"]): string {
  const intervals = (spec?.intervals ?? []).map(({ every }) => `every ${formatDuration(Number(every))}`);
  const calendars = (spec?.calendars ?? []).map(calendarText);
  return [...intervals, ...calendars].join(", ") || "-";
}

/** Returns a cron expression. Temporal stores it as a calendar of hour, minute and days. */
function calendarText(calendar: NonNullable<NonNullable<ScheduleSummary["spec"]>["calendars"]>[number]): string {
  if (calendar.comment) return calendar.comment;
  const numbers = (ranges: readonly { readonly start: number }[] | undefined) =>
    (ranges ?? []).map(({ start }) => String(start).padStart(2, "0")).join(",");
  return `at ${numbers(calendar.hour) || "00"}:${numbers(calendar.minute) || "00"}`;
}

async function resultOf(
  client: Client,
  run: { readonly workflowId: string; readonly firstExecutionRunId: string },
): Promise<string> {
  const description = await client.workflow
    .getHandle(run.workflowId, run.firstExecutionRunId)
    .describe()
    .catch(() => null);
  return description?.status.name ?? "UNKNOWN";
}
