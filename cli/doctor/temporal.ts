import { startHint } from "../../core/errors.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import { taskQueueOf } from "../../workflows/shared/names.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { loadSystem } from "../setup/system.ts";
import { connectTemporal } from "../setup/temporal.ts";
import { pollersOf } from "../status/pollers.ts";
import { schedulesOf } from "../status/schedules.ts";
import { checkBackground } from "./background.ts";
import { type Finding, judged, ok, problem, warning } from "./finding.ts";

/**
 * Checks Temporal: whether it answers, whether workers ask it for work and for long work, and whether every schedule
 * exists and runs.
 */
export async function checkTemporal(config: Config, { streams, views }: Definitions): Promise<Finding[]> {
  const client = await inTime(connectTemporal(config)).catch(() => null);
  if (client === null) {
    const todo = `${startHint("Temporal", "TEMPORAL_ADDRESS")} Until then nothing is archived.`;
    return [problem("temporal.connect", `Temporal does not answer at ${config.temporalAddress}`, todo)];
  }
  try {
    const { workflowService } = client.connection;
    const { serverVersion } = await workflowService.getSystemInfo({});
    const queue = taskQueueOf(config.namespace);
    const workers = await pollersOf(client, queue, "workflow");
    return [
      ok("temporal.connect", `Temporal ${serverVersion ?? ""} answers at ${config.temporalAddress}`),
      judged(workers > 0, "temporal.worker", `${workers} workers ask task queue ${queue} for work`, {
        level: "problem",
        message: `no worker asks task queue ${queue} for work: nothing is archived, and no version is published`,
        todo: "Start `tideline worker`, or look into its log.",
      }),
      // Without a worker there is already a finding about that.
      ...(workers > 0 ? [await checkBackground(client, queue)] : []),
      ...(await checkSchedules(config, [...streams.keys()], [...views.keys()])),
    ];
  } catch (error) {
    const todo = "See whether TEMPORAL_NAMESPACE names a namespace that exists.";
    return [problem("temporal.connect", `Temporal answers ${(error as Error).message}`, todo)];
  } finally {
    await client.connection.close();
  }
}

async function checkSchedules(config: Config, streams: string[], views: string[]): Promise<Finding[]> {
  const { schedules } = await schedulesOf(config);
  const found = new Map(schedules.map((one) => [one.schedule, one]));
  const report = await (await loadSystem(config.system)).report?.();
  return desiredSchedules(config.namespace, streams, views, report?.views).map(({ id }) => {
    const schedule = found.get(id);
    if (schedule === undefined)
      return problem("schedule.exists", `there is no schedule ${id}`, "Start `tideline worker`, which creates it.");
    if (schedule.paused)
      return warning(
        "schedule.runs",
        `schedule ${id} is paused`,
        `\`tideline schedules resume ${id}\` lets it run again.`,
      );
    const failed = schedule.lastResult === "FAILED" || schedule.lastResult === "TIMED_OUT";
    return judged(!failed, "schedule.runs", `schedule ${id} runs, next ${schedule.nextRun}`, {
      level: "problem",
      message: `the last run of schedule ${id} ended ${schedule.lastResult}`,
      todo: "Look at the run in Temporal's UI, or into the worker's log.",
    });
  });
}
