import type { Client } from "@temporalio/client";
import { TidelineError, temporalUnreachable } from "../../core/errors.ts";
import type { Config } from "./config.ts";

/**
 * Returns a client of Temporal; the caller closes its connection. The client does not repeat calls: the timers of
 * Temporal's own retries outlive the connection, and a retry after its end would end the process. Throws NOT_READY when
 * Temporal does not answer.
 */
export async function connectTemporal(
  { temporalAddress: address, temporalNamespace: namespace }: Pick<Config, "temporalAddress" | "temporalNamespace">,
  options: { readonly connectTimeout?: number } = {},
): Promise<Client> {
  const { Client, Connection } = await import("@temporalio/client");
  const connection = await Connection.connect({ address, interceptors: [], ...options }).catch(
    temporalUnreachable(address),
  );
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
