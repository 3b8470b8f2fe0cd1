import { once } from "node:events";
import { type Figure, quantile } from "./figure.ts";
import { makeHistory, quantiles, waitUntilComplete } from "./http.ts";
import type { HttpLoadOptions, HttpLoadResult } from "./http-load.ts";
import { endChild, type Installation, withInstallation } from "./installation.ts";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const ROUNDS = 3;
const SECONDS = 10;
const PROBES_PER_SECOND = 50;

/**
 * What a short request waits for while the ten most expensive questions that are answered run side by side, again and again, each time over another
 * range, so that nothing is kept of the last one. Against the same requests to the same server at rest.
 */
export async function benchBudgets(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    const nowMs = Math.floor(Date.now() / 3_600_000) * 3_600_000;
    await makeHistory(installation, nowMs);
    await installation.role("speed").start();
    await installation.role("serve", "--rate-limit", "0").start();
    await waitUntilComplete(installation, 0);
    const [idle, busy]: [number[][], number[][]] = [[], []];
    for (let round = 1; round <= ROUNDS; round++) {
      idle.push(await probe(installation));
      const asking = new AbortController();
      const askers = shapes(nowMs).map((pathAt) => ask(installation, pathAt, asking.signal));
      busy.push(await probe(installation));
      asking.abort();
      const answered = (await Promise.all(askers)).map(
        (times) => `${times.length} of ${Math.round(quantile(times, 0.5))} ms`,
      );
      report(`round ${round} of ${ROUNDS}: answered meanwhile ${answered.join(", ")}`);
    }
    return [
      ...quantiles("/health at rest", idle, null),
      ...quantiles("/health beside the ten most expensive questions", busy, 50),
    ];
  });
}

/** The questions, by how often they were asked before. */
function shapes(nowMs: number): ((times: number) => string)[] {
  const from = (days: number) => (times: number) => `from=${nowMs - days * DAY_MS - times * MINUTE_MS}&to=${nowMs}`;
  const [week, month] = [from(7), from(30)];
  const all = "limit=100000";
  return [
    (times) => `/views/revenue?${month(times)}&by=&every=1m&window=1440m&${all}`,
    (times) => `/views/revenue?${month(times)}&by=&every=1m&window=1440m&order=-basket.p99&${all}`,
    (times) => `/views/revenue?${week(times)}&by=region&every=1m&window=60m&${all}`,
    (times) => `/views/revenue?${month(times)}&every=1m&order=-revenue&${all}`,
    (times) => `/views/revenue?${month(times)}&every=1m&order=basket.p50&${all}`,
    (times) => `/views/revenue?${month(times)}&every=1m&zone=Europe/Berlin&format=csv&${all}`,
    (times) => `/views/active-buyers?${month(times)}&${all}`,
    (times) => `/views/top-products?${month(times)}&${all}`,
    (times) => `/views/revenue?from=${Date.parse("1976-01-01") + times * MINUTE_MS}&every=1d&zone=Europe/Berlin&${all}`,
    (times) => `/views/revenue/keys?dimension=category&${month(times)}`,
  ];
}

/** Asks one question after the other until the signal; returns how long the answers took, in milliseconds. */
async function ask({ ports }: Installation, pathAt: (times: number) => string, signal: AbortSignal): Promise<number[]> {
  const took: number[] = [];
  for (let times = 0; !signal.aborted; times++) {
    const startMs = performance.now();
    const path = pathAt(times);
    const response = await fetch(`http://127.0.0.1:${ports.api}${path}`);
    const body = await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${Buffer.from(body).toString()}`);
    took.push(performance.now() - startMs);
  }
  return took;
}

/** How long GET /health took, in milliseconds, asked at an even rate by another process. */
async function probe(installation: Installation): Promise<number[]> {
  const options: HttpLoadOptions = {
    port: installation.ports.api,
    paths: ["/health"],
    connections: 1,
    seconds: SECONDS,
    requestsPerSecond: PROBES_PER_SECOND,
  };
  const child = installation.fork("./http-load.ts", options);
  const [result] = (await once(child, "message")) as [HttpLoadResult];
  await endChild(child);
  return [...result.latenciesMs];
}
