import type { Client, WorkflowHandleWithStartDetails } from "@temporalio/client";
import { type Command, Option } from "commander";
import type { BackfillDay } from "../../batch-layer/recompute/backfill-plan.ts";
import { requireTimes } from "../../core/definition/table.ts";
import { isTidelineError, sentencesOf } from "../../core/errors.ts";
import { INTERVAL_FORMS, intervalName, intervalText, parseInterval, type TimeRange } from "../../core/interval.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { BackfillViewResult, backfillView } from "../../workflows/backfill-view.ts";
import { type Config, loadConfig } from "../setup/config.ts";
import { findView } from "../setup/definitions.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";
import { print, type Sheet } from "../terminal/sheet.ts";

interface Flags {
  readonly from: string;
  readonly to: string;
  readonly parallel: number;
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly cancel: boolean;
  readonly wait: boolean;
  readonly json: boolean;
}

/** The interval of a view to recompute. Each interval has a workflow of its own. */
interface Target {
  readonly view: string;
  readonly interval: TimeRange;
}

const help = `
A date as --to is included: --from 2026-01-01 --to 2026-01-31 is all of January. An instant is where the interval ends.
(A view's answer ends before its \`to\`, also when that is a date: \`query --from 2026-01-01 --to 2026-02-01\` is the
same month.) Every day that is done stays done: a backfill that was cancelled, or whose worker was killed, continues
where it was when it is started again. Ctrl+C leaves it running; the same command shows it again. A day that fails is
listed at the end, and the others are published; then the exit code is 1, and the same command tries the failed days
alone again.

Examples:
  $ tideline backfill revenue --from 2026-01-01 --to 2026-01-31 --dry-run    what it would do, day by day
  $ tideline backfill revenue --from 2026-01-01 --to 2026-01-31
  $ tideline backfill revenue --from 2026-01-31T12:00:00Z --to 2026-01-31T18:00:00Z --parallel 4
  $ tideline backfill revenue --from 2026-01-01 --to 2026-01-31 --cancel
`;

/** Adds `tideline backfill`. */
export function registerBackfill(program: Command): void {
  const command = program
    .command("backfill")
    .description(
      "recompute a view's buckets in an interval of event time from the " +
        "archive, publish the days that differ, and say which",
    )
    .argument("<view>", "the view's name")
    .requiredOption("--from <time>", `where the interval begins: ${INTERVAL_FORMS}`)
    .requiredOption("--to <time>", "where it ends: a date, which is included, or an instant, which is not")
    .addOption(new Option("--parallel <n>", "how many days at once, up to 16").default(2).argParser(wholeNumberFrom(1)))
    .addOption(new Option("--dry-run", "show what would be done, and start nothing").default(false))
    .addOption(new Option("--force", "publish also when nothing differs").default(false))
    .addOption(new Option("--cancel", "cancel the backfill that runs; its days stay done").default(false))
    .option("--no-wait", "start it and return")
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .addHelpText("after", help);
  command.action(async (view: string, flags: Flags) => {
    const config = loadConfig(process.env);
    const interval = intervalOf(command, flags);
    const definition = await findView(config, view);
    requireTimes(definition.view);
    if (flags.dryRun) return showPlan(config, definition, interval, flags.json);
    const { connectTemporal } = await import("../setup/temporal.ts");
    const client = await connectTemporal(config);
    try {
      if (flags.cancel) await cancel(client, config, { view, interval });
      else await run(client, config, { view, interval }, flags);
    } finally {
      await client.connection.close();
    }
  });
}

/** Flags that give no interval are an error of usage. */
function intervalOf(command: Command, { from, to }: Flags): TimeRange {
  try {
    return parseInterval(from, to);
  } catch (error) {
    if (isTidelineError(error)) command.error(`error: ${sentencesOf(error)}`);
    throw error;
  }
}

async function run(
  client: Client,
  config: Config,
  target: Target,
  { parallel, force, wait, json }: Flags,
): Promise<void> {
  const { interruptible } = await import("../terminal/progress.ts");
  const { followRun } = await import("../runs/follow-run.ts");
  const { backfillProgress } = await import("../../workflows/backfill-view.ts");
  const { view } = target;
  const handle = await startOrJoin(client, config, target, { parallel, force });
  process.stderr.write(`${handle.workflowId} runs: event time ${intervalText(target.interval)}\n`);
  if (!wait) return;
  const followed = {
    handle,
    progress: async () => {
      const { done, days } = await handle.query(backfillProgress);
      return { done, total: days };
    },
  };
  const result = await interruptible((stop) => followRun(client, followed, "days", stop));
  if (result === null)
    process.stderr.write(
      `${handle.workflowId} continues without this command: Temporal's UI shows it, the ` +
        `same command follows it again, and with --cancel ends it\n`,
    );
  else {
    process.stdout.write(json ? `${JSON.stringify({ view, ...result })}\n` : resultText(view, result));
    if ((result.failed ?? []).length > 0) process.exitCode = 1;
  }
}

async function startOrJoin(
  { workflow }: Client,
  { namespace }: Config,
  target: Target,
  options: { readonly parallel: number; readonly force: boolean },
): Promise<WorkflowHandleWithStartDetails<typeof backfillView>> {
  const { executionTimeoutMs, SUMMARIES, taskQueueOf } = await import("../../workflows/shared/names.ts");
  const { view, interval } = target;
  const [from = "", to = ""] = intervalName(interval).split("..");
  return workflow.start<typeof backfillView>("backfillView", {
    workflowId: await workflowId(namespace, target),
    workflowIdConflictPolicy: "USE_EXISTING",
    taskQueue: taskQueueOf(namespace),
    args: [{ view, from, to, ...options }],
    staticSummary: SUMMARIES.backfill(`${view}/${from}..${to}`),
    workflowExecutionTimeout: executionTimeoutMs("backfill"),
  });
}

async function workflowId(namespace: string, { view, interval }: Target): Promise<string> {
  const { workId } = await import("../../workflows/shared/names.ts");
  return workId(namespace, "backfill", `${view}/${intervalName(interval)}`);
}

async function cancel({ workflow }: Client, { namespace }: Config, target: Target): Promise<void> {
  const { WorkflowNotFoundError } = await import("@temporalio/client");
  const id = await workflowId(namespace, target);
  try {
    await workflow.getHandle(id).cancel();
    process.stdout.write(`${id} is being cancelled; started again, it continues where it was\n`);
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    process.stdout.write(`${id} does not run\n`);
    process.exitCode = 1;
  }
}

async function showPlan(config: Config, definition: Definition, interval: TimeRange, json: boolean): Promise<void> {
  const { planOfBackfill } = await import("../operations/plan-backfill.ts");
  const { backfill, plan } = await planOfBackfill(config, definition, interval);
  const { days, skipped, done, damaged } = plan;
  const finished = new Set(done);
  const sheet: Sheet = {
    head: ["day", "records to read, at most", "state rows now", "already done"],
    right: ["records to read, at most", "state rows now"],
    rows: days.map(({ day, records, states }: BackfillDay) => [
      day,
      `${records}`,
      `${states}`,
      finished.has(day) ? "yes" : "no",
    ]),
  };
  for (const file of damaged)
    process.stderr.write(`${file} is missing or damaged: days that need it will fail, and the others continue\n`);
  const { version } = backfill.pin;
  const { fromMs, toMs } = backfill;
  await print(json, { view: definition.view.name, ...backfill, ...plan }, sheet, "there is nothing in this interval");
  process.stderr.write(
    `event time ${intervalText({ fromMs, toMs })} on version ${version}: ${days.length} days to ` +
      `recompute, ${skipped} skipped because nothing is there; nothing was started\n`,
  );
}

function resultText(
  view: string,
  { version, compared, days, skipped, failed = [], seconds }: BackfillViewResult,
): string {
  const changed = days.filter(({ identical }) => !identical);
  const lines = changed.map(
    ({ day, rows, before }) => `  ${day}: NOT what version ${compared} held: ${rows} state rows, ${before} before`,
  );
  if (failed.length > 0)
    lines.push(
      `FAILED, and left as they were; the same command tries only these ${failed.length} again:`,
      ...failed.map(({ day, code, message }) => `  ${day}: ${code}: ${message}`),
    );
  const identical = `${days.length - changed.length} of ${days.length} days identical to version ${compared}`;
  const empty = skipped === 0 ? "" : `, ${skipped} skipped because nothing is there`;
  const published = version === null ? "nothing to publish" : `version ${version}`;
  return [`${view}: ${published}, ${identical}${empty}, in ${seconds} s`, ...lines, ""].join("\n");
}
