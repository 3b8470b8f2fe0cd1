import { once } from "node:events";
import { join } from "node:path";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { categories, regions } from "../../systems/shop/simulator/catalogue.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import type { BareHttpOptions } from "../load/bare-http.ts";
import { HttpConnection } from "../load/http-connection.ts";
import type { HttpLoadOptions, HttpLoadResult } from "../load/http-load.ts";
import { startLoad } from "../load/load-process.ts";
import { BatchLayer } from "../setup/batch-layer.ts";
import { type Figure, figure, limit, quantile } from "../setup/figure.ts";
import { endChild, type Installation, withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareOrders } from "../setup/prepared-batches.ts";

const DAY_MS = 86_400_000;
const HISTORY = 200_000;
const LIVE = 20_000;
const ROUNDS = 3;
const SECONDS = 5;
const CONNECTIONS = 16;
/** The load at which latencies are stated. */
const EVEN = { requestsPerSecond: 300, eventsPerSecond: 1_000 };
const RANGES = 40;

/**
 * Reads over HTTP: one group of `revenue` over the last three hours against a bare Fastify handler that reads one hash;
 * the same at an even rate while events come in; and whole months, asked for the first time and again.
 */
export async function benchHttp(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    const nowMs = Math.floor(Date.now() / 3_600_000) * 3_600_000;
    report(`a history of ${HISTORY} orders in 30 days, ${LIVE} live ones`);
    await makeHistory(installation, nowMs);
    const speed = installation.role("speed");
    await speed.start();
    const serve = installation.role("serve", "--rate-limit", "0");
    await serve.start();
    await sendOrders(installation, { seed: 2, count: LIVE, startMs: nowMs - 3 * 3_600_000, lengthMs: 4 * 3_600_000 });
    await waitUntilComplete(installation, LIVE);

    const figures: Figure[] = [];
    const paths = keyedPaths(nowMs);
    const bare = await startBare(installation, paths.length);
    figures.push(await keyedReads(installation, paths, bare, report));
    figures.push(...(await readsUnderLoad(installation, paths, bare, report)));
    figures.push(...(await months(installation, nowMs, report)));
    return figures;
  });
}

/** 200,000 orders in the 30 days before `nowMs`, archived and in a first version of every view of theirs. */
export async function makeHistory(installation: Installation, nowMs: number): Promise<void> {
  await sendOrders(installation, { seed: 1, count: HISTORY, startMs: nowMs - 30 * DAY_MS, lengthMs: 30 * DAY_MS });
  const batch = await BatchLayer.open({ brokers: installation.brokers, dataDir: join(installation.home, "data") });
  try {
    const { views } = await loadDefinitions(installation.config);
    const ours = [...views.values()]
      .map(({ view }) => view)
      .filter(({ stream }) => stream.name === orderCompleted.name);
    await batch.archive(batch.target(revenue));
    for (const view of ours) await batch.firstVersion(batch.target(view));
  } finally {
    await batch.close();
  }
}

interface Orders {
  readonly seed: number;
  readonly count: number;
  /** When the first one happens. */
  readonly startMs: number;
  /** Over how long a time they are spread. */
  readonly lengthMs: number;
}

async function sendOrders({ brokers }: Installation, { seed, count, startMs, lengthMs }: Orders): Promise<void> {
  const sender = await BatchSender.open(brokers, orderCompleted.name);
  const { partitions } = orderCompleted;
  for (const batch of prepareOrders({ seed, count, size: 2_000, partitions, startMs, everyMs: lengthMs / count }))
    await sender.send(batch);
  await sender.close();
}

/** Waits until the answer has all orders that were sent, `live` of them after the history. */
export async function waitUntilComplete({ ports }: Installation, live: number): Promise<void> {
  const connection = await HttpConnection.open(ports.api);
  const deadlineMs = performance.now() + 60_000;
  // Without `to` the answer would end now, and some of the live orders happen later.
  const path = `/views/revenue?measures=orders&by=&every=1d&from=2000-01-01&to=${Date.now() + DAY_MS}`;
  for (;;) {
    const { body } = await connection.get(path);
    const { rows = [] } = JSON.parse(body.toString()) as { rows?: { orders: number }[] };
    const orders = rows.reduce((sum, row) => sum + row.orders, 0);
    // Some are test orders, which the view leaves out.
    if (orders > (HISTORY + live) * 0.99) break;
    if (performance.now() > deadlineMs)
      throw new Error(`only ${orders} of ${HISTORY + live} orders are there: ${body.toString().slice(0, 300)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  connection.close();
}

/** Every group in turn, the last three hours, an hour a row. */
function keyedPaths(nowMs: number): string[] {
  const range = `every=1h&from=${nowMs - 2 * 3_600_000}&to=${nowMs + 3_600_000}`;
  return regions.flatMap(({ name: region }) =>
    categories.map(({ name }) => `/views/revenue?${range}&where[region]=${region}&where[category]=${name}`),
  );
}

async function httpLoad(installation: Installation, options: HttpLoadOptions): Promise<HttpLoadResult> {
  const child = installation.fork("../load/http-load.ts", options);
  const [result] = (await once(child, "message")) as [HttpLoadResult];
  await endChild(child);
  if (result.failed > 0) throw new Error(`${result.failed} requests of ${result.latenciesMs.length} failed`);
  return result;
}

/** The ceiling: a handler that reads one hash of as many fields for every group. Returns its paths. */
async function startBare(installation: Installation, groups: number): Promise<{ port: number; paths: string[] }> {
  const options: BareHttpOptions = { port: installation.ports.worker, redisUrl: installation.env.REDIS_URL ?? "" };
  await once(installation.fork("../load/bare-http.ts", options), "message");
  const fields = {
    orders: 12,
    revenue: 45_600,
    tax: 900,
    smallest: 990,
    largest: 9_990,
    average: 3_800,
    basket: 3_500,
  };
  const indexes = Array.from({ length: groups }, (_, index) => index);
  for (const index of indexes) await installation.redis.hset(`bench:${index}`, fields);
  return { port: options.port, paths: indexes.map((index) => `/read/${index}`) };
}

async function keyedReads(
  installation: Installation,
  paths: readonly string[],
  bare: Pick<HttpLoadOptions, "port" | "paths">,
  report: (line: string) => void,
): Promise<Figure> {
  const load = { connections: CONNECTIONS, seconds: SECONDS, requestsPerSecond: null };
  const ours = { port: installation.ports.api, paths };
  const ask = async (asked: typeof bare) => (await httpLoad(installation, { ...load, ...asked })).perSecond;
  await ask(ours);
  await ask(bare);
  const rounds: { ours: number; ceiling: number }[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const [ceiling, own] = [await ask(bare), await ask(ours)];
    rounds.push({ ours: own, ceiling });
    report(`round ${round} of ${ROUNDS}: ${Math.round(own)} against ${Math.round(ceiling)} requests/s`);
  }
  return figure(`keyed reads over HTTP, ${CONNECTIONS} connections, live state at rest`, "requests/s", 0.8, rounds);
}

/**
 * Latencies while events come in, and those of the bare handler on the same busy machine: what is left of any bar
 * there.
 */
async function readsUnderLoad(
  installation: Installation,
  paths: readonly string[],
  bare: Pick<HttpLoadOptions, "port" | "paths">,
  report: (line: string) => void,
): Promise<Figure[]> {
  const { requestsPerSecond, eventsPerSecond } = EVEN;
  const load = await startLoad(installation, { eventsPerSecond, seed: 3 });
  const rounds: { ours: HttpLoadResult; ceiling: HttpLoadResult }[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const even = { connections: CONNECTIONS, seconds: SECONDS, requestsPerSecond };
    const ceiling = await httpLoad(installation, { ...even, ...bare });
    const ours = await httpLoad(installation, { ...even, port: installation.ports.api, paths });
    rounds.push({ ours, ceiling });
    report(`reads under load: round ${round} of ${ROUNDS}`);
  }
  await load.stop();
  const beside = `at ${requestsPerSecond} requests/s while ${eventsPerSecond.toLocaleString("en-US")} events/s come in`;
  const latencies = (who: "ours" | "ceiling") => rounds.map((round) => round[who].latenciesMs);
  return [
    ...quantiles(`keyed read ${beside}`, latencies("ours"), 15),
    ...quantiles(`the bare handler ${beside}`, latencies("ceiling"), null),
  ];
}

/** The last 30 days, a day a row: each range asked for the first time, then all of them again. */
async function months(installation: Installation, nowMs: number, report: (line: string) => void): Promise<Figure[]> {
  const connection = await HttpConnection.open(installation.ports.api);
  const asked: number[][] = [[], []];
  const paths = Array.from({ length: RANGES * ROUNDS }, (_, index) => {
    const toMs = nowMs - index * 60_000;
    return `/views/revenue?every=1d&from=${toMs - 30 * DAY_MS}&to=${toMs}&by=region`;
  });
  for (const times of asked) {
    for (const path of paths) {
      const startMs = performance.now();
      const { status } = await connection.get(path);
      if (status !== 200) throw new Error(`${path}: ${status}`);
      times.push(performance.now() - startMs);
    }
    report(`${paths.length} ranges of 30 days: ${Math.round(quantile(times, 0.5))} ms`);
  }
  connection.close();
  const parts = (times: readonly number[] = []) =>
    Array.from({ length: ROUNDS }, (_, round) => times.slice(round * RANGES, (round + 1) * RANGES));
  return [
    ...quantiles("30 days of revenue by region, not asked before", parts(asked[0]), null),
    ...quantiles("30 days of revenue by region, asked again", parts(asked[1]), null),
  ];
}

/** p50 and p99 of each round; the bar is for p99. */
export function quantiles(what: string, rounds: readonly (readonly number[])[], bar: number | null): Figure[] {
  return [
    limit(
      `${what}, p50`,
      "ms",
      null,
      rounds.map((times) => quantile(times, 0.5)),
    ),
    limit(
      `${what}, p99`,
      "ms",
      bar,
      rounds.map((times) => quantile(times, 0.99)),
    ),
  ];
}
