import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import type { Config } from "../setup/config.ts";

/** Temporal's lists show new and deleted things a moment late. */
const LISTED_LATE_MS = 250;
const EMPTY_LISTS = 3;
const LISTS_AT_MOST = 200;

/**
 * Deletes everything of an installation on its servers: schedules, runs, live state and topics. Its roles must have
 * ended. Things that are already gone are no error. Throws NOT_READY when a server does not answer, RangeError for an
 * installation without a namespace, because its things cannot be told from those of others.
 */
export async function removeInstallation(config: Config): Promise<void> {
  const { namespace, kafkaBrokers, redisUrl } = config;
  if (namespace === "") throw new RangeError("only an installation with a namespace can be removed");
  const { connectTemporal } = await import("../setup/temporal.ts");
  const { deleteTopics } = await import("../../store/kafka/cluster/topics.ts");
  const { deleteLiveState } = await import("../../store/redis/delete-live-state.ts");
  const client = await connectTemporal(config);
  try {
    for (let lists = 0, empty = 0; lists < LISTS_AT_MOST && empty < EMPTY_LISTS; lists++) {
      const found = (await deleteSchedules(client, config)) + (await deleteRuns(client, config));
      empty = found === 0 ? empty + 1 : 0;
      await sleep(LISTED_LATE_MS);
    }
  } finally {
    await client.connection.close();
  }
  await deleteLiveState(redisUrl, namespace);
  await deleteTopics(kafkaBrokers, namespace);
}

async function deleteSchedules({ schedule }: Client, { namespace }: Config): Promise<number> {
  let found = 0;
  for await (const { scheduleId } of schedule.list()) {
    if (!scheduleId.startsWith(`${namespace}/`)) continue;
    found++;
    await schedule.getHandle(scheduleId).delete().catch(ignoreMissing);
  }
  return found;
}

async function deleteRuns({ workflow, workflowService }: Client, config: Config): Promise<number> {
  const { namespace, temporalNamespace } = config;
  const { taskQueueOf } = await import("../../workflows/shared/names.ts");
  let found = 0;
  for await (const { workflowId, runId } of workflow.list({ query: `TaskQueue = "${taskQueueOf(namespace)}"` })) {
    found++;
    const run = { namespace: temporalNamespace, workflowExecution: { workflowId, runId } };
    await workflowService.deleteWorkflowExecution(run).catch(ignoreMissing);
  }
  return found;
}

function ignoreMissing(error: Error & { readonly code?: unknown }): void {
  const NOT_FOUND = 5;
  if (error.name !== "ScheduleNotFoundError" && error.code !== NOT_FOUND) throw error;
}
