import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection, isGrpcServiceError, ServiceError } from "@temporalio/client";
import { ConstantBackoff, handleWhen, retry } from "cockatiel";
import type { Logger } from "pino";
import { TidelineError, temporalUnreachable } from "../../core/errors.ts";
import { type DesiredSchedule, missingSchedules, reconcileSchedules } from "./schedules.ts";
import { missingSearchAttributes, registerSearchAttributes } from "./search-attributes.ts";

/** The search attributes and schedules that a worker registers in Temporal before it works. */
export interface TemporalSetup {
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly taskQueue: string;
  /** The keyword search attributes that workflows set. */
  readonly searchAttributes: readonly string[];
  /** The schedules that Temporal has to have; null leaves its schedules alone. */
  readonly schedules: readonly DesiredSchedule[] | null;
  readonly logger: Logger;
}

const CHECK_EVERY_MS = 15_000;

/** gRPC statuses for which a retry does not help. */
const LASTING: ReadonlySet<number> = new Set(
  Object.values({
    INVALID_ARGUMENT: 3,
    NOT_FOUND: 5,
    PERMISSION_DENIED: 7,
    FAILED_PRECONDITION: 9,
    UNIMPLEMENTED: 12,
    UNAUTHENTICATED: 16,
  }),
);

/** A Temporal that has just started, or is busy, may not answer requests about schedules at once. */
const patiently = retry(
  handleWhen((error) => {
    const cause = grpcErrorOf(error);
    return cause !== null && !LASTING.has(cause.code);
  }),
  { maxAttempts: 30, backoff: new ConstantBackoff(1_000) },
);

/** Throws NOT_READY when Temporal does not answer, or refuses the setup. */
export async function prepareTemporal(setup: TemporalSetup): Promise<void> {
  const { temporalAddress, temporalNamespace, logger } = setup;
  try {
    await patiently.execute(async ({ attempt }) => {
      if (attempt > 0) logger.warn({ attempt }, "Temporal does not answer for its schedules: it is asked again");
      await connected(setup, (connection) => tell(setup, connection));
    });
  } catch (error) {
    const cause = grpcErrorOf(error);
    if (cause === null) throw error;
    throw new TidelineError(
      "NOT_READY",
      `Temporal at ${temporalAddress} does not take the schedules for namespace ${temporalNamespace}: ${cause.details}`,
      "See whether TEMPORAL_NAMESPACE names a namespace that it has, and whether its log says more.",
      { cause: error },
    );
  }
}

function grpcErrorOf(error: unknown) {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) ? cause : null;
}

/** How often Temporal is checked, and what else is done over the same connection. */
export interface TemporalChecks {
  readonly everyMs?: number;
  /** Called at each check. */
  readonly check?: (client: Client) => Promise<void>;
  /** Called after each check with its error; null: it succeeded. */
  readonly ended?: (error: unknown) => void;
}

/**
 * Checks every 15 seconds whether the search attributes and schedules still exist in Temporal, and registers them again
 * if not. Temporal can come back without its database, and people can delete a schedule. Workers would continue, but no
 * workflow could begin. Returns a function that ends the checks.
 */
export function lookAfterTemporal(setup: TemporalSetup, checks: TemporalChecks = {}): () => void {
  const { everyMs = CHECK_EVERY_MS, check = async () => {}, ended = () => {} } = checks;
  const { temporalNamespace: namespace, logger } = setup;
  const ending = new AbortController();
  const repeat = async () => {
    for (;;) {
      await delay(everyMs, undefined, { signal: ending.signal, ref: false });
      try {
        await connected(setup, async (connection) => {
          await tellAgain(setup, connection);
          await check(new Client({ connection, namespace }));
        });
        ended(null);
      } catch (error) {
        ended(error);
        logger.debug({ error: (error as Error).message }, "Temporal cannot be looked after");
      }
    }
  };
  repeat().catch(() => {}); // ended
  return () => ending.abort();
}

async function tellAgain(setup: TemporalSetup, connection: Connection): Promise<void> {
  const { temporalNamespace: namespace, searchAttributes, schedules, logger } = setup;
  const attributes = await missingSearchAttributes(connection, namespace, searchAttributes);
  const gone = await missingSchedules(new Client({ connection, namespace }), schedules ?? []);
  if (attributes.length + gone.length === 0) return;
  logger.warn(
    { attributes, schedules: gone.map(({ id }) => id) },
    "Temporal lacks settings that it had: they are made again",
  );
  await tell(setup, connection);
}

/** Search attributes first, because a schedule's runs need them. */
async function tell(
  { temporalNamespace: namespace, taskQueue, searchAttributes, schedules, logger }: TemporalSetup,
  connection: Connection,
): Promise<void> {
  await registerSearchAttributes(connection, namespace, searchAttributes);
  if (schedules === null) return;
  const place = { taskQueue, owner: taskQueue };
  const reconciled = await reconcileSchedules(new Client({ connection, namespace }), schedules, place);
  logger.info({ ...reconciled }, "schedules reconciled");
}

async function connected(
  { temporalAddress: address }: TemporalSetup,
  work: (connection: Connection) => Promise<void>,
): Promise<void> {
  // The client must not repeat calls. When one of several requests fails, the connection is closed while others are
  // open, and a call that the client repeats after that would end the process.
  const connection = await Connection.connect({ address, interceptors: [] }).catch(temporalUnreachable(address));
  try {
    await work(connection);
  } finally {
    await connection.close();
  }
}
