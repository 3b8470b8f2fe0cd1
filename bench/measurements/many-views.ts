import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Manifests } from "../../store/archive/manifests.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { type EventProducer, openProducer } from "../../store/kafka/produce/producer.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { STREAMS, streamName, VIEWS_A_STREAM, viewName, writeManyViews } from "../setup/many-views.ts";
import { usageOf } from "../setup/process-usage.ts";

const EVENTS_PER_SECOND = 1_000;
const SENDS_PER_SECOND = 20;
const WARM_UP_MS = 90_000;
const MEASURED_MS = 180_000;
const LOOK_EVERY_MS = 500;
const WAIT_MS = 20_000;

/**
 * What 200 views over 10 streams cost at 1,000 events a second, made up: some 20 pages, 30 countries and 500 visitors.
 * The processor time of the speed layer, the worker and the server (Temporal and the servers of others are not in it),
 * how old the newest version of any view becomes, and how long an event takes from Kafka's acknowledgement until an
 * answer of a view holds it.
 */
export async function benchManyViews(report: (line: string) => void): Promise<Figure[]> {
  // In here, so that definitions can import what users import.
  await mkdir(".tideline", { recursive: true });
  const folder = resolve(await mkdtemp(join(".tideline", "many-views-")));
  try {
    await writeManyViews(folder);
    const env = {
      TIDELINE_SCHEMAS: join(folder, "schemas"),
      TIDELINE_VIEWS: join(folder, "views"),
      TIDELINE_SETTLE_EVERY: "45s",
    };
    return await withInstallation({ temporal: true, env }, (installation) => measure(installation, report));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  await installation.role("speed").start();
  await installation.role("worker").start();
  await installation.role("serve", "--rate-limit", "0").start();
  const producer = await openProducer({ brokers: installation.brokers });
  const ending = new AbortController();
  const sending = send(producer, ending.signal);
  try {
    await delay(WARM_UP_MS);
    report("warm");
    const before = await cpuSeconds(installation);
    const beganMs = performance.now();
    const ages: number[] = [];
    const fresh: number[] = [];
    for (let probe = 0; performance.now() - beganMs < MEASURED_MS; probe++) {
      fresh.push(await freshness(installation, producer, probe));
      if (probe % 10 === 0) ages.push(await oldestVersion(installation));
      await delay(LOOK_EVERY_MS);
    }
    const cores = ((await cpuSeconds(installation)) - before) / ((performance.now() - beganMs) / 1_000);
    report(`${cores.toFixed(2)} cores, ${fresh.length} events watched, versions at most ${Math.max(...ages)} s old`);
    return [
      limit("processor time of Tideline's processes", "cores", 1.25, [cores]),
      limit("the oldest newest version of a view", "s", 120, [Math.max(...ages)]),
      limit("from acknowledged to answered, p50", "ms", null, [quantile(fresh, 0.5)]),
      limit("from acknowledged to answered, p99", "ms", 2_000, [quantile(fresh, 0.99)]),
    ];
  } finally {
    ending.abort();
    await sending;
    await producer.close();
  }
}

/** Sends clicks at an even rate until the signal. */
async function send(producer: EventProducer, signal: AbortSignal): Promise<void> {
  const each = EVENTS_PER_SECOND / SENDS_PER_SECOND / STREAMS;
  const beganMs = performance.now();
  for (let sent = 0; !signal.aborted; sent++) {
    const work = Array.from({ length: STREAMS }, (_, stream) =>
      producer.send(
        streamName(stream),
        Array.from({ length: each }, (_, index) => click(`${sent}-${index}`, sent * each + index)),
      ),
    );
    await Promise.all(work);
    const behindMs = performance.now() - beganMs - (sent * 1_000) / SENDS_PER_SECOND;
    await delay(Math.max(0, 1_000 / SENDS_PER_SECOND - behindMs));
  }
}

function click(id: string, number: number) {
  // A few pages, countries and visitors have most of the clicks.
  const skewed = (of: number) => Math.floor(of * ((number * 0.618_034) % 1) ** 3);
  const value = {
    id,
    at: Date.now(),
    page: `/shop/${skewed(20)}`,
    country: String.fromCharCode(65 + (skewed(30) % 26), 90 - skewed(7)),
    visitor: `v${skewed(500)}`,
    ms: (number * 37) % 3_000,
  };
  return { key: id, value: Buffer.from(JSON.stringify(value)) };
}

/** Milliseconds from the acknowledgement of an event until a view of its stream answers with it. */
async function freshness({ ports }: Installation, producer: EventProducer, probe: number): Promise<number> {
  const stream = probe % STREAMS;
  const acknowledged = await producer.send(streamName(stream), [click(`probe-${probe}`, probe)]);
  const sentMs = performance.now();
  const [[partition, offset] = [0, 0n]] = acknowledged;
  const least = `${streamName(stream)}:${partition}:${offset}`;
  const path = `/views/${viewName(stream, probe % VIEWS_A_STREAM)}?limit=1&min=${least}&wait=${WAIT_MS}`;
  const response = await fetch(`http://127.0.0.1:${ports.api}${path}`);
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return performance.now() - sentMs;
}

/** How long ago the view was published that was published longest ago, seconds. */
async function oldestVersion(installation: Installation): Promise<number> {
  const data = new DataDirectory(join(installation.home, "data"));
  const manifests = new Manifests(data);
  const newest = await Promise.all((await data.list("views")).map((generation) => manifests.newest(generation)));
  const nowMs = Date.now();
  return Math.round(Math.max(...newest.map((one) => nowMs - (one?.createdAtMs ?? 0))) / 1_000);
}

async function cpuSeconds({ ports }: Installation): Promise<number> {
  const used = await Promise.all([ports.speed, ports.worker, ports.api].map(usageOf));
  return used.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
}
