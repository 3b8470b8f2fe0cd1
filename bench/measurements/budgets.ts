import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { HttpLoadOptions, HttpLoadResult } from "../load/http-load.ts";
import { type Figure, quantile } from "../setup/figure.ts";
import { endChild, type Installation, withInstallation } from "../setup/installation.ts";
import { makeHistory, quantiles, waitUntilComplete } from "./http.ts";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const IDLE_SECONDS = 10;
/** All questions are asked for so long: three times as long as a round. */
const ROUNDS = 3;
const ROUND_SECONDS = 25;
const PROBES_PER_SECOND = 50;

/**
 * What a short request waits for while the ten most expensive questions that are answered run side by side. Each is
 * asked again as soon as it is answered, each time over another range, so that nothing is kept of the last one. What is
 * under way when the time is over is given up, and reported. Against the same requests to the same server at rest.
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
    const idle = [await probe(installation, IDLE_SECONDS)];
    const ending = new AbortController();
    const asking = questions.map((pathAt) => ask(installation, pathAt, ending.signal));
    const busy: number[][] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const times = await probe(installation, ROUND_SECONDS);
      busy.push(times);
      const [p50, p99] = [0.5, 0.99].map((share) => quantile(times, share).toFixed(1));
      report(
        `round ${round} of ${ROUNDS}: /health p50 ${p50} ms, p99 ${p99} ms, most ${Math.max(...times).toFixed(0)} ms`,
      );
    }
    ending.abort();
    for (const asked of await Promise.all(asking)) report(shown(asked));
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

/**
 * The widest range over which a question is answered, in days. Throws when it is refused over one day, or for another
 * reason.
 */
async function widest({ ports }: Installation, shape: Shape): Promise<number> {
  for (const days of RANGES_DAYS) {
    const response = await fetch(`http://127.0.0.1:${ports.api}${shape(days, 0)}`);
    const text = await response.text();
    if (response.ok) return days;
    if (!text.includes('"TOO_LARGE"')) throw new Error(`${shape(days, 0)}: ${response.status} ${text}`);
  }
  throw new Error(`${shape(1, 0)} is too large over one day`);
}

/** What became of one question, which was asked again and again. */
interface Asked {
  readonly path: string;
  readonly answeredMs: number[];
  /** Refused with 429, because too many wait. */
  refused: number;
  /** How long the last one, which was given up, had been under way. */
  leftMs: number;
}

/** Asks one question after the other until the signal. */
async function ask({ ports }: Installation, pathAt: (times: number) => string, ending: AbortSignal): Promise<Asked> {
  const asked: Asked = { path: pathAt(0), answeredMs: [], refused: 0, leftMs: 0 };
  for (let times = 1; ; times++) {
    const startMs = performance.now();
    const path = pathAt(times);
    // A signal of its own: `fetch` leaves its listeners with one that it was given.
    const giving = new AbortController();
    const give = () => giving.abort();
    ending.addEventListener("abort", give);
    try {
      const response = await fetch(`http://127.0.0.1:${ports.api}${path}`, { signal: giving.signal });
      const body = await response.arrayBuffer();
      if (response.status === 200) asked.answeredMs.push(performance.now() - startMs);
      else if (response.status === 429) asked.refused += 1;
      else throw new Error(`${path}: ${response.status} ${Buffer.from(body).toString()}`);
      if (response.status === 429) await delay(1_000, undefined, { signal: giving.signal });
    } catch (error) {
      if (!ending.aborted) throw error;
      return { ...asked, leftMs: performance.now() - startMs };
    } finally {
      ending.removeEventListener("abort", give);
    }
  }
}

function shown({ path, answeredMs, refused, leftMs }: Asked): string {
  const seconds = (timeMs: number) => `${(timeMs / 1_000).toFixed(1)} s`;
  const answered = answeredMs.length === 0 ? "" : ` (median ${seconds(quantile(answeredMs, 0.5))})`;
  return `answered ${answeredMs.length}${answered}, refused ${refused}, given up after ${seconds(leftMs)}: ${path}`;
}

/** How long GET /health took, in milliseconds, asked at an even rate by another process. */
async function probe(installation: Installation, seconds: number): Promise<number[]> {
  const options: HttpLoadOptions = {
    port: installation.ports.api,
    paths: ["/health"],
    connections: 1,
    seconds,
    requestsPerSecond: PROBES_PER_SECOND,
  };
  const child = installation.fork("../load/http-load.ts", options);
  const [result] = (await once(child, "message")) as [HttpLoadResult];
  await endChild(child);
  if (result.failed > 0) throw new Error(`${result.failed} requests of /health failed`);
  return [...result.latenciesMs];
}
