import { NativeConnection } from "@temporalio/worker";
import { type DepsOptions, type DuckShare, type OpenedDeps, openDeps } from "./open-deps.ts";
import { unreachable } from "./temporal-setup.ts";

/**
 * Opens a connection to Temporal and everything that activities work with. When one cannot be opened, the other is
 * closed. Throws NOT_READY when Temporal does not answer.
 */
export async function connectedDeps(
  options: DepsOptions & { readonly temporalAddress: string },
  duck: DuckShare,
): Promise<{ readonly connection: NativeConnection; readonly opened: OpenedDeps }> {
  const { temporalAddress: address } = options;
  const connection = await NativeConnection.connect({ address }).catch(unreachable(address));
  const opened = await openDeps(options, duck).catch(async (error: unknown) => {
    await connection.close();
    throw error;
  });
  return { connection, opened };
}
