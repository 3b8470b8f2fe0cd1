import { NativeConnection } from "@temporalio/worker";
import { temporalUnreachable } from "../../core/errors.ts";
import { type DepsOptions, type DuckShare, type OpenedDeps, openDeps } from "./open-deps.ts";

/**
 * Opens a connection to Temporal and everything that activities use. If one cannot be opened, the other is closed.
 * Throws NOT_READY when Temporal does not answer.
 */
export async function connectedDeps(
  options: DepsOptions & { readonly temporalAddress: string },
  duck: DuckShare,
): Promise<{ readonly connection: NativeConnection; readonly opened: OpenedDeps }> {
  const { temporalAddress: address } = options;
  const connection = await NativeConnection.connect({ address }).catch(temporalUnreachable(address));
  const opened = await openDeps(options, duck).catch(async (error: unknown) => {
    await connection.close();
    throw error;
  });
  return { connection, opened };
}
