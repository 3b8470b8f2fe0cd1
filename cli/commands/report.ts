import { join } from "node:path";
import type { Client, WorkflowHandle } from "@temporalio/client";
import { type Command, InvalidArgumentError, Option } from "commander";
import { DAY_MS, dayOf } from "../../core/interval.ts";
import { parseTime } from "../../core/time.ts";
import type { DailyReportInput, DailyReportResult, dailyReport } from "../../workflows/daily-report.ts";
import { type Config, loadConfig } from "../setup/config.ts";

interface Flags {
  readonly date?: string;
  readonly fresh: boolean;
  readonly deliver: boolean;
  readonly openPath: boolean;
  readonly json: boolean;
}

type Report = WorkflowHandle<typeof dailyReport>;
const PAGE = "report.html";

const help = `
The first run of a day fixes the positions of the log that its numbers hold for; a rerun gives the same files to the
byte, but for stamp.json. --fresh makes another edition, with what has come since.

Examples:
  $ tideline report                                   yesterday (UTC), which the nightly run has done already
  $ tideline report --date 2026-01-01 --fresh         with events that came late
  $ tideline report --date 2026-01-01 --deliver       and mail it
  $ xdg-open "$(tideline report --open-path)"         look at the page
`;

/** Adds `tideline report`. */
export function registerReport(program: Command): void {
  program
    .command("report")
    .description("compute the daily report of the system: a page with charts, and its numbers as files")
    .addOption(new Option("--date <day>", "UTC day, as 2026-01-01; yesterday by default").argParser(day))
    .addOption(new Option("--fresh", "make another edition, of what the log holds now").default(false))
    .addOption(new Option("--deliver", "mail it, if that edition has not been mailed yet").default(false))
    .addOption(new Option("--open-path", "print the path of the page and nothing else").default(false))
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .addHelpText("after", help)
    .action(async ({ date = dayOf(Date.now() - DAY_MS), fresh, deliver, openPath, json }: Flags) => {
      const config = loadConfig(process.env);
      const { connectTemporal } = await import("../setup/temporal.ts");
      const client = await connectTemporal(config);
      try {
        const result = await run(client, config, { date, fresh, deliver });
        if (result === null) return;
        const folder = join(config.home, "data", result.folder);
        if (openPath) process.stdout.write(`${join(folder, PAGE)}\n`);
        else
          process.stdout.write(
            json ? `${JSON.stringify(resultJson(date, result, folder))}\n` : resultText(result, folder),
          );
      } finally {
        await client.connection.close();
      }
    });
}

function day(text: string): string {
  const time = parseTime(text);
  if (time !== null && dayOf(time) === text) return text;
  throw new InvalidArgumentError("It must be a day such as 2026-01-01.");
}

/**
 * Runs the report to its end, or joins the run that does the same. Returns null if Ctrl+C came first, which leaves the
 * run going.
 */
async function run(client: Client, config: Config, input: Required<Omit<DailyReportInput, "deliverAt">>) {
  const { interruptible } = await import("../terminal/progress.ts");
  return interruptible(async (stop): Promise<DailyReportResult | null> => {
    const { handle, joined } = await startOrJoin(client, config, input);
    const result = await follow(client, handle, stop);
    // The run that was joined did not have these flags.
    if (!joined || result === null || !(input.fresh || input.deliver)) return result;
    return follow(client, (await startOrJoin(client, config, input)).handle, stop);
  });
}

async function startOrJoin(
  { workflow }: Client,
  { namespace }: Config,
  input: DailyReportInput,
): Promise<{ readonly handle: Report; readonly joined: boolean }> {
  const { WorkflowExecutionAlreadyStartedError } = await import("@temporalio/client");
  const { executionTimeoutMs, SUMMARIES, taskQueueOf, workId } = await import("../../workflows/shared/names.ts");
  const target = `daily/${input.date}`;
  const workflowId = workId(namespace, "report", target);
  try {
    const handle = await workflow.start<typeof dailyReport>("dailyReport", {
      workflowId,
      taskQueue: taskQueueOf(namespace),
      args: [input],
      staticSummary: SUMMARIES.report(target),
      workflowExecutionTimeout: executionTimeoutMs("report"),
    });
    process.stderr.write(`${workflowId} runs\n`);
    return { handle, joined: false };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    process.stderr.write(`${workflowId} runs already\n`);
    return { handle: workflow.getHandle<typeof dailyReport>(workflowId), joined: true };
  }
}

async function follow(client: Client, handle: Report, stop: AbortSignal): Promise<DailyReportResult | null> {
  const { reportProgress } = await import("../../workflows/daily-report.ts");
  const { followRun } = await import("../runs/follow-run.ts");
  const followed = {
    handle,
    progress: async () => {
      const { done, steps } = await handle.query(reportProgress);
      return { done, total: steps };
    },
  };
  return followRun(client, followed, "steps", stop);
}

function resultJson(date: string, { counts, ...result }: DailyReportResult, folder: string) {
  return { date, ...result, ...counts, folder };
}

function resultText({ edition, pinned, counts, files, delivery, seconds }: DailyReportResult, folder: string): string {
  const counted = Object.entries(counts)
    .map(([name, count]) => `${count} ${name}, `)
    .join("");
  const what = pinned ? "pinned by this run" : "pinned by an earlier run: the same numbers again";
  return [
    `edition ${edition}, ${what}: ${counted}in ${seconds} s`,
    delivery,
    ...files.map((name) => `  ${join(folder, name)}`),
    "",
  ].join("\n");
}
