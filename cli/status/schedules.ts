import type { Client } from "@temporalio/client";
import type { Config } from "../setup/config.ts";
import { PATIENCE_MS } from "../setup/patience.ts";

export interface ScheduleStatus {
  readonly schedule: string;
  readonly paused: boolean;
  readonly nextRun: string | null;
  /** Temporal's word for how the last run ended (COMPLETED, FAILED), RUNNING, or null before the first. */
  readonly lastResult: string | null;
}

/** Schedules of this installation: ids begin with its namespace, where it has one. */
export async function schedulesOf({
  temporalAddress,
  temporalNamespace,
  namespace,
}: Config): Promise<{ reachable: boolean; schedules: ScheduleStatus[] }> {
  const { Client, Connection } = await import("@temporalio/client");
  const connection = await Connection.connect({ address: temporalAddress, connectTimeout: PATIENCE_MS }).catch(
    () => null,
  );
  if (connection === null) return { reachable: false, schedules: [] };
  const client = new Client({ connection, namespace: temporalNamespace });
  try {
    return { reachable: true, schedules: await listSchedules(client, namespace) };
  } catch {
    return { reachable: false, schedules: [] };
  } finally {
    await connection.close();
  }
}

async function listSchedules(client: Client, namespace: string): Promise<ScheduleStatus[]> {
  const schedules: ScheduleStatus[] = [];
  for await (const { scheduleId, state, info } of client.schedule.list()) {
    if (!scheduleId.startsWith(namespace)) continue;
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
