import { WorkflowExecutionAlreadyStartedError } from "@temporalio/common";
import {
  ChildWorkflowCancellationType,
  type ChildWorkflowHandle,
  ParentClosePolicy,
  startChild,
  type Workflow,
  type WorkflowResultType,
} from "@temporalio/workflow";
import { executionTimeoutMs, type Kind, SUMMARIES, workId } from "./names.ts";

/** The work of a child workflow. Its id names the work, so that it runs only once at a time. */
export interface Work<T extends Workflow> {
  readonly workflow: T;
  readonly namespace: string;
  readonly kind: Kind;
  readonly target: string;
  readonly input: Parameters<T>[0];
  /** The time limit of the run, in milliseconds; absent: that of its kind. */
  readonly timeoutMs?: number;
}

/**
 * Runs a piece of work to its end, as a child workflow that outlives its parent. Returns null if it is already running.
 * Schedules and settlements start the same work in this way. Others may be waiting for it, so it must not end with its
 * parent.
 */
export async function startOrJoin<T extends Workflow>(
  work: Work<T>,
): Promise<{ readonly result: WorkflowResultType<T> } | null> {
  const run = await startAside(work);
  return run === null ? null : { result: await run.result() };
}

/** Starts a piece of work without waiting for its end. Returns null if it is already running. */
export async function startAside<T extends Workflow>({
  workflow,
  ...work
}: Work<T>): Promise<ChildWorkflowHandle<T> | null> {
  const run = await startNamed(workflow.name, work);
  return run as ChildWorkflowHandle<T> | null;
}

/** As `startAside`, for a workflow whose file imports the caller's file. */
export async function startNamed(
  workflow: string,
  { namespace, kind, target, input, timeoutMs = executionTimeoutMs(kind) }: Omit<Work<Workflow>, "workflow">,
): Promise<ChildWorkflowHandle<Workflow> | null> {
  try {
    return await startChild<Workflow>(workflow, {
      workflowId: workId(namespace, kind, target),
      args: [input],
      staticSummary: SUMMARIES[kind](target),
      workflowExecutionTimeout: timeoutMs,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: ChildWorkflowCancellationType.ABANDON,
    });
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
    throw error;
  }
}
