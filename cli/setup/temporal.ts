import type { Client } from "@temporalio/client";
import { TidelineError } from "../../core/errors.ts";
import type { Config } from "./config.ts";

/** A client of Temporal; whoever asks closes its connection. Throws NOT_READY when Temporal does not answer. */
export async function connectTemporal({
  temporalAddress: address,
  temporalNamespace: namespace,
}: Pick<Config, "temporalAddress" | "temporalNamespace">): Promise<Client> {
  const { Client, Connection } = await import("@temporalio/client");
  const connection = await Connection.connect({ address }).catch((cause: unknown) => {
    throw new TidelineError(
      "NOT_READY",
      `Temporal does not answer at ${address}`,
      "Start the servers with `tideline up`, or set TEMPORAL_ADDRESS to the Temporal that runs.",
      { cause },
    );
  });
  await connection.workflowService.describeNamespace({ namespace }).catch(async (cause: unknown) => {
    await connection.close();
    throw new TidelineError(
      "NOT_READY",
      `Temporal at ${address} has no namespace "${namespace}"`,
      "Wait until it has started, or set TEMPORAL_NAMESPACE to one that it has.",
      { cause },
    );
  });
  return new Client({ connection, namespace });
}
