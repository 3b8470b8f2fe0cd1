import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import { TidelineError } from "../../core/errors.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import type { SettleStreamResult, settleStream } from "../../workflows/settle-stream.ts";
import { explained } from "./follow-run.ts";

/** Returns the streams to settle, and for each stream its wanted views; undefined: all views. Throws VIEW_UNKNOWN. */
export function wantedOf(
  names: readonly string[],
  { views, streams }: Pick<Definitions, "views" | "streams">,
): Map<string, string[] | undefined> {
  const wanted = new Map<string, string[] | undefined>();
  for (const name of names.length === 0 ? streams.keys() : names) {
    const stream = views.get(name)?.view.stream.name;
    if (stream !== undefined) {
      const others = wanted.get(stream);
      if (!wanted.has(stream) || others !== undefined) wanted.set(stream, [...(others ?? []), name]);
    } else if (streams.has(name)) wanted.set(name, undefined);
    else {
      const known = [...views.keys(), ...streams.keys()].join(", ");
      throw new TidelineError("VIEW_UNKNOWN", `there is no view or stream "${name}"`, `Take some of: ${known}.`);
    }
  }
  return wanted;
}

const ASK_AGAIN_MS = 200;

/**
 * Requests a round of a settlement that begins after now, in the running run or in a new one, and waits for its end.
 * Throws RUN_FAILED.
 */
export async function settled(
  client: Client,
  namespace: string,
  stream: string,
  views: readonly string[] | undefined,
): Promise<SettleStreamResult> {
  const { WithStartWorkflowOperation } = await import("@temporalio/client");
  const { settlementStart } = await import("../../workflows/shared/names.ts");
  const { isRunEnding, settle } = await import("../../workflows/settle-stream.ts");
  const start = settlementStart(namespace, stream, []);
  for (;;) {
    try {
      return await client.workflow.executeUpdateWithStart(settle, {
        args: [views === undefined ? {} : { views }],
        startWorkflowOperation: new WithStartWorkflowOperation<typeof settleStream>("settleStream", start),
      });
    } catch (error) {
      if (!isRunEnding(error)) throw await explained(start.workflowId, error);
      await delay(ASK_AGAIN_MS);
    }
  }
}
