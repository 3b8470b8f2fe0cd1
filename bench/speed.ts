import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { AvroSchema, avroSchemaText, typeOf } from "../core/avro.ts";
import { generationOf } from "../core/generation.ts";
import { at, type Cut, cutReached } from "../core/position.ts";
import type { ProcessHandle } from "../stack/local-process.ts";
import { Chain } from "../store/chain.ts";
import { DataDirectory } from "../store/files.ts";
import { LogReader } from "../store/log.ts";
import { subjectOf } from "../store/registry.ts";
import { FileRegistry } from "../store/registry-files.ts";
import { bareLoop } from "./bare-loop.ts";
import { sale } from "./definitions/schemas/sale.ts";
import * as views from "./definitions/views/sales.ts";
import { type Figure, figure, limit, median } from "./figure.ts";
import { type Installation, withInstallation } from "./installation.ts";
import { BatchSender, prepareBatch } from "./prepared-batches.ts";

const EVENTS = 2_000_000;
const BATCH_EVENTS = 500;
const ROUNDS = 3;
const FETCH_BYTES = 4 * 1024 * 1024;
const BEGIN_MS = 1_760_000_000_000;
/** A thousand events a second of event time: the log of a busy shop, read again from its beginning. */
const EVERY_MS = 1;
const TICKS_PER_SECOND = 100;

const folder = (name: string) => fileURLToPath(new URL(`definitions/${name}`, import.meta.url));

export const FORMATS = ["JSON", "Avro"] as const;

/** How events are written, and how the bare loop parses one. */
interface Format {
  readonly name: (typeof FORMATS)[number];
  readonly encode: (event: Sale) => Buffer;
  readonly parse: (value: Buffer) => unknown;
}

type Sale = ReturnType<typeof saleOf>;

/**
 * The speed layer, Kafka to Redis, five views, exactly once; against a bare loop that fetches the same topic and parses each message. Both begin
 * with a warm process and read all events.
 */
export async function benchSpeed(
  report: (line: string) => void,
  { formats }: { readonly formats: readonly Format["name"][] },
): Promise<Figure[]> {
  const env = { TIDELINE_SCHEMAS: folder("schemas"), TIDELINE_VIEWS: folder("views") };
  const figures: Figure[] = [];
  for (const name of formats) {
    const made = await withInstallation({ env }, async (installation) =>
      name === "JSON"
        ? measure(installation, JSON_FORMAT, [1, 2], report)
        : measure(installation, await avroFormat(installation), [1], report),
    );
    figures.push(...made);
  }
  return figures;
}

async function measure(
  installation: Installation,
  format: Format,
  processes: readonly (1 | 2)[],
  report: (line: string) => void,
): Promise<Figure[]> {
  report(`sending ${EVENTS.toLocaleString("en-US")} events as ${format.name}`);
  const eventBytes = await sendEvents(installation.brokers, format);
  const log = new LogReader({ brokers: installation.brokers, clientId: "bench" });
  const end = (await log.bounds(sale.name)).stable;
  await log.close();
  const chains = Object.values(views).map((view) => new Chain(installation.redis, "", generationOf(view)));
  const figures: Figure[] = [];
  const bare = () => bareLoop(installation.brokers, sale.name, end, FETCH_BYTES, format.parse);
  await bare();
  for (const count of processes) {
    const roles = [installation.role("speed"), ...(count === 2 ? [await installation.secondSpeed()] : [])];
    const rounds: Round[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const ceiling = await bare();
      for (const role of roles) await role.start();
      await reached(chains, end);
      // Redis emptied under a running process: it begins again at the first event, with everything warm.
      const made = await timed(installation, chains, end, roles);
      for (const role of roles) await role.stop();
      await installation.redis.flushall();
      rounds.push({ ...made, ceiling });
      report(
        `${format.name}, ${count} process${count === 1 ? "" : "es"}, round ${round} of ${ROUNDS}: ${Math.round(made.ours)} against ${Math.round(ceiling)} events/s`,
      );
    }
    const what = `speed layer, Kafka to Redis, five views, ${eventBytes}-byte ${format.name} events, ${count === 1 ? "one process" : "two processes"}`;
    figures.push(figure(what, "events/s", count === 1 ? 0.7 : null, rounds));
    const cpu = rounds.flatMap(({ perCpuSecond }) => (perCpuSecond === null ? [] : [perCpuSecond]));
    if (cpu.length > 0) report(`${format.name}: ${Math.round(median(cpu))} events per CPU second of the speed layer`);
    figures.push(
      limit(
        `Redis operations per event, ${format.name}, ${count === 1 ? "one process" : "two processes"}`,
        "",
        null,
        rounds.map(({ operations }) => operations),
      ),
    );
    if (cpu.length > 0)
      figures.push(
        limit(
          `CPU of the speed layer per million events, ${format.name}, ${count === 1 ? "one process" : "two processes"}`,
          "s",
          null,
          cpu.map((rate) => 1_000_000 / rate),
        ),
      );
  }
  return figures;
}

interface Round {
  readonly ours: number;
  readonly ceiling: number;
  /** Events per second of CPU time that the speed layer used; null where the system does not say. */
  readonly perCpuSecond: number | null;
  /** Commands that Redis ran per event, those inside of scripts too. */
  readonly operations: number;
}

function saleOf(index: number) {
  return {
    sale_id: `e0000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
    sold_at: BEGIN_MS + index * EVERY_MS,
    region: `region-${index % 8}`,
    product: `product-${(index * 7_919) % 1_000}`,
    user_id: `user-${(index * 104_729) % 100_000}`,
    channel: ["web", "app", "shop"][index % 3],
    amount_cents: (index * 7_919) % 100_000,
    quantity: (index % 9) + 1,
  };
}

const JSON_FORMAT: Format = {
  name: "JSON",
  encode: (event) => Buffer.from(JSON.stringify(event)),
  parse: (value): unknown => JSON.parse(value.toString()),
};

/** Avro in the wire format, under a schema that the installation's own registry holds. */
async function avroFormat(installation: Installation): Promise<Format> {
  const [newest] = sale.versions;
  if (newest === undefined) throw new Error("a stream without a version");
  const text = avroSchemaText(sale, newest);
  const registry = new FileRegistry(new DataDirectory(join(installation.home, "data")));
  const id = await registry.register(subjectOf(sale.name), text);
  const schema = new AvroSchema(text);
  const type = typeOf(text);
  return {
    name: "Avro",
    encode: (event) => schema.encode(id, event),
    parse: (value): unknown => type.fromBuffer(value.subarray(5)),
  };
}

/** Sends all events, a partition after the other in turn. Answers how many bytes one has. */
async function sendEvents(brokers: string, format: Format): Promise<number> {
  const sender = await BatchSender.open(brokers, sale.name);
  let bytes = 0;
  for (let first = 0; first < EVENTS; first += BATCH_EVENTS) {
    const events = Array.from({ length: BATCH_EVENTS }, (_, index) => {
      const event = saleOf(first + index);
      const value = format.encode(event);
      bytes += value.length;
      return { key: event.sale_id, value };
    });
    await sender.send(prepareBatch((first / BATCH_EVENTS) % sale.partitions, events));
  }
  await sender.close();
  return Math.round(bytes / EVENTS);
}

async function reached(chains: readonly Chain[], end: Cut): Promise<void> {
  for (;;) {
    const states = await Promise.all(chains.map((chain) => chain.load()));
    if (states.every((state) => state !== null && cutReached(state.applied, end))) return;
    await delay(20);
  }
}

/** Empties Redis, and from the first chain that is there again to the end: events a second of the view that is last (this topic has no gaps). */
async function timed(
  { redis }: Installation,
  chains: readonly Chain[],
  end: Cut,
  roles: readonly ProcessHandle[],
): Promise<Omit<Round, "ceiling">> {
  await redis.flushall();
  await redis.config("RESETSTAT");
  const cpuBefore = await cpuSeconds(roles);
  let beganMs: number | null = null;
  const total = count(end);
  for (;;) {
    const states = await Promise.all(chains.map((chain) => chain.load()));
    const applied = Math.min(...states.map((state) => (state === null ? 0 : count(state.applied))));
    if (states.some((state) => state !== null)) beganMs ??= performance.now();
    if (beganMs !== null && applied === total) {
      const ours = (total / (performance.now() - beganMs)) * 1_000;
      const cpuAfter = await cpuSeconds(roles);
      const perCpuSecond = cpuBefore === null || cpuAfter === null ? null : total / (cpuAfter - cpuBefore);
      return { ours, perCpuSecond, operations: (await operations(redis)) / total };
    }
    await delay(25);
  }
}

async function operations(redis: Installation["redis"]): Promise<number> {
  const text = await redis.info("commandstats");
  return [...text.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/** What processes have used of CPU time, in seconds, on Linux; null elsewhere. */
async function cpuSeconds(roles: readonly ProcessHandle[]): Promise<number | null> {
  let ticks = 0;
  for (const { pid } of roles) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (stat === null) return null;
    const [user = "0", system = "0"] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13);
    ticks += Number(user) + Number(system);
  }
  return ticks / TICKS_PER_SECOND;
}

function count(cut: Cut): number {
  return [...cut.keys()].reduce((sum, partition) => sum + Number(at(cut, partition)), 0);
}
