import type { Client } from "@temporalio/client";
import { isScheduleOf } from "../../workflows/shared/names.ts";
import type { Config } from "../setup/config.ts";
import { PATIENCE_MS } from "../setup/patience.ts";
import { connectTemporal } from "../setup/temporal.ts";

export interface ScheduleStatus {
  readonly schedule: string;
  readonly paused: boolean;
  readonly nextRun: string | null;
  /** Temporal's word for how the last run ended (COMPLETED, FAILED), RUNNING, or null before the first run. */
  readonly lastResult: string | null;
}

/** Returns the schedules of this installation. If it has a namespace, their ids begin with it. */
export async function schedulesOf(
  config: Pick<Config, "temporalAddress" | "temporalNamespace" | "namespace">,
): Promise<{ reachable: boolean; schedules: ScheduleStatus[] }> {
  const client = await connectTemporal(config, { connectTimeout: PATIENCE_MS }).catch(() => null);
  if (client === null) return { reachable: false, schedules: [] };
  try {
    return { reachable: true, schedules: await listSchedules(client, config.namespace) };
  } catch {
    return { reachable: false, schedules: [] };
  } finally {
    await client.connection.close();
  }
}

async function listSchedules(client: Client, namespace: string): Promise<ScheduleStatus[]> {
  const schedules: ScheduleStatus[] = [];
  for await (const { scheduleId, state, info } of client.schedule.list()) {
    if (!isScheduleOf(namespace, scheduleId)) continue;
    schedules.push({
      schedule: scheduleId,
      paused: state.paused,
      nextRun: info.nextActionTimes[0]?.toISOString() ?? null,
      lastResult: await lastResult(client, info.recentActions.at(-1)?.action.workflow),
    });
  }
  return schedules.sort((a, b) => (a.schedule < b.schedule ? -1 : 1));
}

async function lastResult(
  client: Client,
  run: { readonly workflowId: string; readonly firstExecutionRunId: string } | undefined,
): Promise<string | null> {
  if (run === undefined) return null;
  const description = await client.workflow
    .getHandle(run.workflowId, run.firstExecutionRunId)
    .describe()
    .catch(() => null);
  return description?.status.name ?? "UNKNOWN";
}
