import { HttpConnection } from "./http-connection.ts";

/**
 * A program that requests paths over several connections for some seconds and prints what it measured. Each connection
 * sends its next request when it has an answer, or at an even rate.
 */
export interface HttpLoadOptions {
  readonly port: number;
  /** Asked in turn. */
  readonly paths: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  /** Of all connections together; null: as fast as answers come. */
  readonly requestsPerSecond: number | null;
}

export interface HttpLoadResult {
  readonly perSecond: number;
  /**
   * Of each answer, milliseconds. At an even rate from the moment when the request was due, so that waiting behind a
   * slow one counts.
   */
  readonly latenciesMs: readonly number[];
  readonly failed: number;
}

const { port, paths, connections, seconds, requestsPerSecond } = JSON.parse(process.argv[2] ?? "{}") as HttpLoadOptions;
const latenciesMs: number[] = [];
let failed = 0;
let asked = 0;
process.on("disconnect", () => process.exit());

const startMs = performance.now();
const endMs = startMs + seconds * 1_000;
const everyMs = requestsPerSecond === null ? 0 : 1_000 / requestsPerSecond;

async function run(): Promise<void> {
  const connection = await HttpConnection.open(port);
  for (;;) {
    const number = asked++;
    const dueMs = requestsPerSecond === null ? performance.now() : startMs + number * everyMs;
    if (dueMs >= endMs) break;
    const earlyMs = dueMs - performance.now();
    if (earlyMs > 0) await new Promise((resolve) => setTimeout(resolve, earlyMs));
    const { status } = await connection.get(paths[number % paths.length] ?? "/");
    latenciesMs.push(performance.now() - dueMs);
    if (status !== 200) failed += 1;
  }
  connection.close();
}

await Promise.all(Array.from({ length: connections }, run));
const perSecond = (latenciesMs.length / (performance.now() - startMs)) * 1_000;
process.send?.({ perSecond, latenciesMs, failed } satisfies HttpLoadResult, () => process.exit());
