import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import type { Logger } from "pino";
import { TidelineError } from "../core/errors.ts";
import { type DesiredSchedule, hasSchedule, reconcileSchedules } from "./schedules.ts";
import { missingSearchAttributes, registerSearchAttributes } from "./search-attributes.ts";

/** What a worker tells Temporal before it works. */
export interface TemporalSetup {
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly taskQueue: string;
  /** The keyword search attributes that workflows set. */
  readonly searchAttributes: readonly string[];
  /** What Temporal is to start by itself; null leaves its schedules alone. */
  readonly schedules: readonly DesiredSchedule[] | null;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 10_000;

/** Throws NOT_READY when Temporal does not answer. */
export async function prepareTemporal(setup: TemporalSetup): Promise<void> {
  await connected(setup, (connection) => tell(setup, connection));
}

/**
 * Temporal can come back without its database. Its workers go on as if nothing had happened, but no workflow could begin: their search attributes are
 * unknown, and the schedules are gone. So what a worker said at its start is looked after, and said again. Answers what ends that.
 */
export function lookAfterTemporal(setup: TemporalSetup, everyMs = LOOK_EVERY_MS): () => void {
  const ending = new AbortController();
  const look = async () => {
    for (;;) {
      await delay(everyMs, undefined, { signal: ending.signal, ref: false });
      try {
        await connected(setup, async (connection) => {
          if (!(await hasForgotten(setup, connection))) return;
          setup.logger.warn("Temporal has lost its database: it is told again what it must know");
          await tell(setup, connection);
        });
      } catch (error) {
        setup.logger.debug({ error: (error as Error).message }, "Temporal does not answer");
      }
    }
  };
  look().catch(() => {}); // ended
  return () => ending.abort();
}

async function hasForgotten(
  { temporalNamespace: namespace, searchAttributes, schedules }: TemporalSetup,
  connection: Connection,
): Promise<boolean> {
  if ((await missingSearchAttributes(connection, namespace, searchAttributes)).length > 0) return true;
  const [first] = schedules ?? [];
  return first !== undefined && !(await hasSchedule(new Client({ connection, namespace }), first.id));
}

/** Search attributes first: a schedule's runs need them. */
async function tell(
  { temporalNamespace: namespace, taskQueue, searchAttributes, schedules, logger }: TemporalSetup,
  connection: Connection,
): Promise<void> {
  await registerSearchAttributes(connection, namespace, searchAttributes);
  if (schedules === null) return;
  const place = { taskQueue, owner: taskQueue };
  const reconciled = await reconcileSchedules(new Client({ connection, namespace }), schedules, place);
  logger.info({ ...reconciled }, "schedules");
}

async function connected(
  { temporalAddress: address }: TemporalSetup,
  work: (connection: Connection) => Promise<void>,
): Promise<void> {
  const connection = await Connection.connect({ address }).catch(unreachable(address));
  try {
    await work(connection);
  } finally {
    await connection.close();
  }
}

export function unreachable(address: string): (cause: unknown) => never {
  return (cause) => {
    throw new TidelineError(
      "NOT_READY",
      `Temporal does not answer at ${address}`,
      "Start the servers with `tideline up`, or set TEMPORAL_ADDRESS to the Temporal that runs.",
      { cause },
    );
  };
}
