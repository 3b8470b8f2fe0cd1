import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AvroSchema, avroSchemaText, typeOf } from "../../core/codec/avro/avro.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { subjectOf } from "../../store/registry/registry.ts";
import { FileRegistry } from "../../store/registry/registry-files.ts";
import { sale } from "../definitions/schemas/sale.ts";
import * as views from "../definitions/views/sales.ts";
import { bareLoop } from "../setup/bare-loop.ts";
import { type Figure, figure, limit, median } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareBatch } from "../setup/prepared-batches.ts";
import { saleOf } from "../setup/sales.ts";
import { reached, type SpeedRound, timed } from "../setup/speed-rounds.ts";

const EVENTS = 2_000_000;
const BATCH_EVENTS = 500;
const ROUNDS = 3;
const FETCH_BYTES = 4 * 1024 * 1024;

const folder = (name: string) => fileURLToPath(new URL(`../definitions/${name}`, import.meta.url));

export const FORMATS = ["JSON", "Avro"] as const;

/** How events are written, and how the bare loop parses one. */
interface Format {
  readonly name: (typeof FORMATS)[number];
  readonly encode: (event: Sale) => Buffer;
  readonly parse: (value: Buffer) => unknown;
}

type Sale = ReturnType<typeof saleOf>;

/**
 * The speed layer, Kafka to Redis, five views, exactly once; against a bare loop that fetches the same topic and parses
 * each message. Both begin with a warm process and read all events.
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
  const loop = { brokers: installation.brokers, topic: sale.name, end, maxBytes: FETCH_BYTES };
  const bare = () => bareLoop(loop, format.parse);
  await bare();
  for (const count of processes) {
    const roles = [installation.role("speed"), ...(count === 2 ? [await installation.secondSpeed()] : [])];
    const rounds: Round[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const ceiling = await bare();
      for (const role of roles) await role.start();
      await reached(chains, end);
      // Redis emptied under a running process: it begins again at the first event, with everything warm.
      const made = await timed(installation.redis, chains, end, roles);
      for (const role of roles) await role.stop();
      await installation.redis.flushall();
      rounds.push({ ...made, ceiling });
      report(
        `${format.name}, ${count} process${count === 1 ? "" : "es"}, round ${round} of ${ROUNDS}: ` +
          `${Math.round(made.ours)} against ${Math.round(ceiling)} events/s`,
      );
    }
    const what =
      `speed layer, Kafka to Redis, five views, ${eventBytes}-byte ${format.name} ` +
      `events, ${count === 1 ? "one process" : "two processes"}`;
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

type Round = SpeedRound & { readonly ceiling: number };

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

/** Sends all events, a partition after the other in turn. Returns how many bytes one has. */
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
