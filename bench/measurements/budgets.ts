import { once } from "node:events";
import type { HttpLoadOptions, HttpLoadResult } from "../load/http-load.ts";
import { type Figure, quantile } from "../setup/figure.ts";
import { endChild, type Installation, withInstallation } from "../setup/installation.ts";
import { makeHistory, quantiles, waitUntilComplete } from "./http.ts";

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
    const questions: ((times: number) => string)[] = [];
    for (const shape of shapes(nowMs)) {
      const startMs = performance.now();
      const days = await widest(installation, shape);
      questions.push((times) => shape(days, times));
      report(`answered over ${days} days, found in ${Math.round(performance.now() - startMs)} ms: ${shape(days, 0)}`);
    }
    const [idle, busy]: [number[][], number[][]] = [[], []];
    for (let round = 1; round <= ROUNDS; round++) {
      idle.push(await probe(installation));
      const asking = new AbortController();
      const askers = questions.map((pathAt) => ask(installation, pathAt, asking.signal));
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

/** A question over the last `days`, by how often it was asked before: each time over another range. */
type Shape = (days: number, times: number) => string;

/** Days of the widest question first: what is too large for one answer is asked over fewer. */
const RANGES_DAYS = [18_250, 365, 30, 14, 7, 3, 1];

function shapes(nowMs: number): Shape[] {
  const revenue = (query: string): Shape => {
    return (days, times) =>
      `/views/revenue?from=${nowMs - days * DAY_MS - times * MINUTE_MS}&to=${nowMs}&limit=100000${query}`;
  };
  const other = (path: string): Shape => {
    return (days, times) => `/views/${path}from=${nowMs - days * DAY_MS - times * MINUTE_MS}&to=${nowMs}`;
  };
  return [
    revenue("&by=&every=1m&window=1440m"),
    revenue("&by=&every=1m&window=1440m&order=-basket.p99"),
    revenue("&by=region&every=1m&window=60m"),
    revenue("&every=1m&order=-revenue"),
    revenue("&every=1m&order=basket.p50"),
    revenue("&every=1m&zone=Europe/Berlin&format=csv"),
    other("active-buyers?limit=100000&"),
    other("top-products?limit=100000&"),
    revenue("&every=1d&zone=Europe/Berlin"),
    other("revenue/keys?dimension=category&"),
  ];
}

/** The widest range over which a question is answered, in days. Throws when it is refused over one day, or for another reason. */
async function widest({ ports }: Installation, shape: Shape): Promise<number> {
  for (const days of RANGES_DAYS) {
    const response = await fetch(`http://127.0.0.1:${ports.api}${shape(days, 0)}`);
    const text = await response.text();
    if (response.ok) return days;
    if (!text.includes('"TOO_LARGE"')) throw new Error(`${shape(days, 0)}: ${response.status} ${text}`);
  }
  throw new Error(`${shape(1, 0)} is too large over one day`);
}

/** Asks one question after the other until the signal; returns how long the answers took, in milliseconds. */
async function ask({ ports }: Installation, pathAt: (times: number) => string, signal: AbortSignal): Promise<number[]> {
  const took: number[] = [];
  for (let times = 1; !signal.aborted; times++) {
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
  const child = installation.fork("../load/http-load.ts", options);
  const [result] = (await once(child, "message")) as [HttpLoadResult];
  await endChild(child);
  return [...result.latenciesMs];
}
