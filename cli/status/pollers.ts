import type { Client } from "@temporalio/client";

/** Kinds of tasks, as Temporal numbers them. */
const TASKS = { workflow: 1, activity: 2 } as const;

/** Returns how many workers ask a task queue for tasks of a kind. Temporal lists those of the last five minutes. */
export async function pollersOf(client: Client, taskQueue: string, tasks: keyof typeof TASKS): Promise<number> {
  const { namespace } = client.options;
  const { pollers } = await client.connection.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: TASKS[tasks],
  });
  return pollers?.length ?? 0;
}
