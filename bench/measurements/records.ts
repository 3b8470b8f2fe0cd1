import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AvroSchema, avroSchemaText } from "../../core/codec/avro/avro.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import type { Cut } from "../../core/log/position.ts";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { subjectOf } from "../../store/registry/registry.ts";
import { FileRegistry } from "../../store/registry/registry-files.ts";
import { earthquake } from "../definitions/found/schemas/earthquake.ts";
import { match } from "../definitions/found/schemas/match.ts";
import * as foundViews from "../definitions/found/views/found.ts";
import { nestedSale, writtenSale } from "../definitions/nested/schemas/nested-sale.ts";
import * as nestedViews from "../definitions/nested/views/nested-sales.ts";
import { sale } from "../definitions/schemas/sale.ts";
import * as saleViews from "../definitions/views/sales.ts";
import { type Figure, figure, median } from "../setup/figure.ts";
import { earthquakes, matches } from "../setup/found.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareBatch } from "../setup/prepared-batches.ts";
import { saleOf, undeclaredOf } from "../setup/sales.ts";
import { reached, type SpeedRound, timed } from "../setup/speed-rounds.ts";

const EVENTS = 500_000;
const BATCH_EVENTS = 500;
const ROUNDS = 3;

const folder = (name: string) => fileURLToPath(new URL(`../definitions/${name}`, import.meta.url));
const folders = (...names: readonly string[]) => names.map(folder).join(",");

/** A way to write events; a topic of them in a namespace of its own. */
interface Shape {
  readonly name: string;
  readonly stream: Stream;
  readonly eventAt: (index: number) => object;
  /** What makes bytes of a value, for an installation with this data directory; JSON if absent. */
  readonly encoder?: (data: DataDirectory, topic: string) => Promise<(value: object) => Buffer>;
  /** The partition of a batch; in turn if absent. */
  readonly partitionOf?: (batch: number) => number;
}

/** Two shapes of the same events, whose rates are compared. */
interface Comparison {
  readonly what: string;
  readonly shape: string;
  readonly against: string;
  readonly bar: number | null;
}

/**
 * Wide records hold what the contract does not name; others have escapes, or text that is not ASCII. All are read at
 * the rate of plain ones.
 */
const COMPARISONS: readonly Comparison[] = [
  { what: "made-up sales as JSON, 20 undeclared fields against none", shape: "wide", against: "plain", bar: 0.8 },
  { what: "made-up sales as Avro, 20 undeclared fields against none", shape: "wide-avro", against: "avro", bar: 0.8 },
  { what: "USGS earthquakes, 22 undeclared fields against none", shape: "quakes", against: "quakes-only", bar: 0.8 },
  { what: "football matches, names in UTF-8 against ASCII", shape: "matches", against: "matches-ascii", bar: 0.8 },
  {
    what: "football matches, names in escapes against ASCII",
    shape: "matches-escaped",
    against: "matches-ascii",
    bar: 0.8,
  },
  {
    what: "made-up sales in objects, as Java writes them, against flat ones",
    shape: "nested",
    against: "plain",
    bar: 0.6,
  },
  {
    what: "the same with times as ISO 8601 and amounts as decimals in texts",
    shape: "written",
    against: "plain",
    bar: 0.6,
  },
  { what: "made-up sales, 9 of 10 of one product in one partition", shape: "skewed", against: "plain", bar: null },
];

/** What the speed layer makes of records that are not as plain as those of `speed`. */
export async function benchRecords(report: (line: string) => void): Promise<Figure[]> {
  const env = {
    TIDELINE_SCHEMAS: folders("schemas", "found/schemas", "nested/schemas"),
    TIDELINE_VIEWS: folders("views", "found/views", "nested/views"),
  };
  return withInstallation({ env }, async (installation) => {
    const logs = new Map<string, ShapeLog>();
    for (const shape of await shapesOf()) {
      logs.set(shape.name, await ShapeLog.open(installation, shape));
      report(
        `sent ${EVENTS.toLocaleString("en-US")} events: ${shape.name}, ${logs.get(shape.name)?.eventBytes} bytes each`,
      );
    }
    const rounds = new Map<string, SpeedRound[]>();
    for (let round = 1; round <= ROUNDS; round++)
      for (const [name, log] of logs) {
        const made = await log.measure();
        rounds.set(name, [...(rounds.get(name) ?? []), made]);
        report(
          `${name}, round ${round} of ${ROUNDS}: ${Math.round(made.ours)} events/s, ` +
            `${Math.round(made.perCpuSecond ?? 0)} per CPU second`,
        );
      }
    return COMPARISONS.flatMap((comparison) => figuresOf(comparison, logs, rounds, report));
  });
}

function figuresOf(
  { what, shape, against, bar }: Comparison,
  logs: ReadonlyMap<string, ShapeLog>,
  rounds: ReadonlyMap<string, readonly SpeedRound[]>,
  report: (line: string) => void,
): Figure[] {
  const [ours = [], theirs = []] = [rounds.get(shape), rounds.get(against)];
  const bytes = `${logs.get(shape)?.eventBytes} bytes against ${logs.get(against)?.eventBytes}`;
  const cpu = (some: readonly SpeedRound[]) => median(some.map(({ perCpuSecond }) => perCpuSecond ?? Number.NaN));
  report(`${what}: ${(cpu(ours) / cpu(theirs)).toFixed(2)} events per CPU second`);
  const pairs = ours.map((one, round) => ({ ours: one.ours, ceiling: theirs[round]?.ours ?? Number.NaN }));
  return [figure(`${what} (${bytes})`, "events/s", bar, pairs)];
}

/** Events that were sent, and the views that read them. */
interface SentEvents {
  readonly eventBytes: number;
  /** Where they end. */
  readonly end: Cut;
  readonly chains: readonly Chain[];
}

/** A topic of events of one shape, and the process that reads it. */
class ShapeLog {
  readonly #installation: Installation;
  readonly #role: ProcessHandle;
  readonly #sent: SentEvents;

  private constructor(installation: Installation, role: ProcessHandle, sent: SentEvents) {
    this.#installation = installation;
    this.#role = role;
    this.#sent = sent;
  }

  get eventBytes(): number {
    return this.#sent.eventBytes;
  }

  static async open(installation: Installation, shape: Shape): Promise<ShapeLog> {
    const { name, stream } = shape;
    const { home, speed: role } = await installation.neighbour(name);
    const topic = topicName(name, stream.name);
    const encode = await (shape.encoder ?? jsonWith((text) => text))(new DataDirectory(join(home, "data")), topic);
    const eventBytes = await send(installation.brokers, topic, shape, encode);
    const log = new LogReader({ brokers: installation.brokers, clientId: "bench" });
    const end = (await log.bounds(topic)).stable;
    await log.close();
    const views: readonly View[] = [
      ...Object.values(saleViews),
      ...Object.values(foundViews),
      ...Object.values(nestedViews),
    ];
    const chains = views
      .filter((view) => view.stream.name === stream.name)
      .map((view) => new Chain(installation.redis, name, generationOf(view)));
    return new ShapeLog(installation, role, { eventBytes, end, chains });
  }

  /** Reads all events twice, and measures the second time: then everything is warm. */
  async measure(): Promise<SpeedRound> {
    const { chains, end } = this.#sent;
    await this.#role.start();
    await reached(chains, end);
    const made = await timed(this.#installation.redis, chains, end, [this.#role]);
    await this.#role.stop();
    await this.#installation.redis.flushall();
    return made;
  }
}

/** Sends all events. Returns how many bytes one has. */
async function send(
  brokers: string,
  topic: string,
  { stream, eventAt, partitionOf }: Shape,
  encode: (value: object) => Buffer,
): Promise<number> {
  const sender = await BatchSender.open(brokers, topic);
  let bytes = 0;
  for (let batch = 0; batch * BATCH_EVENTS < EVENTS; batch++) {
    const events = Array.from({ length: BATCH_EVENTS }, (_, place) => {
      const index = batch * BATCH_EVENTS + place;
      const value = encode(eventAt(index));
      bytes += value.length;
      return { key: `key-${index}`, value };
    });
    await sender.send(prepareBatch(partitionOf?.(batch) ?? batch % stream.partitions, events));
  }
  await sender.close();
  return Math.round(bytes / EVENTS);
}

async function shapesOf(): Promise<Shape[]> {
  const quakes = await earthquakes();
  const declared = Object.keys(earthquake.fields);
  const only = quakes.map((one) => Object.fromEntries(Object.entries(one).filter(([name]) => declared.includes(name))));
  const played = await matches();
  /** The found records again and again, each time with ids of their own. */
  const again = (records: readonly object[]) => (index: number) => ({
    ...records[index % records.length],
    id: `id${String(index).padStart(10, "0")}`,
  });
  const oneProduct = (index: number) => (index % 10 === 0 ? saleOf(index) : { ...saleOf(index), product: "product-7" });
  const onePartition = (batch: number) => (batch % 10 === 0 ? (batch / 10) % sale.partitions : 0);
  return [
    { name: "plain", stream: sale, eventAt: saleOf },
    { name: "wide", stream: sale, eventAt: wideOf },
    { name: "avro", stream: sale, eventAt: saleOf, encoder: avroWith([]) },
    { name: "wide-avro", stream: sale, eventAt: wideOf, encoder: avroWith(UNDECLARED_SCHEMAS) },
    { name: "quakes-only", stream: earthquake, eventAt: again(only) },
    { name: "quakes", stream: earthquake, eventAt: again(quakes) },
    { name: "matches-ascii", stream: match, eventAt: again(played), encoder: jsonWith(ascii) },
    { name: "matches", stream: match, eventAt: again(played) },
    { name: "matches-escaped", stream: match, eventAt: again(played), encoder: jsonWith(escaped) },
    { name: "nested", stream: nestedSale, eventAt: nestedOf },
    { name: "written", stream: writtenSale, eventAt: writtenOf },
    { name: "skewed", stream: sale, eventAt: oneProduct, partitionOf: onePartition },
  ];
}

/** A sale in objects. */
function nestedOf(index: number) {
  const { sale_id, sold_at, region, product, user_id, channel, amount_cents, quantity } = saleOf(index);
  return {
    metadata: { soldAt: sold_at, channel },
    payload: {
      ...{ saleId: sale_id, userId: user_id, store: { region } },
      item: { productId: product, amountCents: amount_cents, quantity },
    },
  };
}

/** The same with its time and its amount as texts. */
function writtenOf(index: number) {
  const { metadata, payload } = nestedOf(index);
  const { amountCents, ...item } = payload.item;
  return {
    metadata: { ...metadata, soldAt: new Date(metadata.soldAt).toISOString() },
    payload: { ...payload, item: { ...item, amount: (amountCents / 100).toFixed(2) } },
  };
}

function jsonWith(change: (text: string) => string): NonNullable<Shape["encoder"]> {
  return async () => (value) => Buffer.from(change(JSON.stringify(value)));
}

/** Avro in the wire format, under the stream's own schema with `more` fields. */
function avroWith(more: readonly object[]): NonNullable<Shape["encoder"]> {
  return async (data, topic) => {
    const [newest] = sale.versions;
    if (newest === undefined) throw new Error("a stream without a version");
    const own = JSON.parse(avroSchemaText(sale, newest)) as { readonly fields: readonly object[] };
    const text = JSON.stringify({ ...own, fields: [...own.fields, ...more] });
    const id = await new FileRegistry(data).register(subjectOf(topic), text);
    const schema = new AvroSchema(text);
    return (value) => schema.encode(id, value);
  };
}

const record = (name: string, fields: Readonly<Record<string, unknown>>) => ({
  type: "record",
  name,
  fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })),
});

/** The fields of `undeclaredOf` as Avro. */
const UNDECLARED_SCHEMAS = record("Undeclared", {
  ...Object.fromEntries(["session", "ip", "agent", "referrer"].map((name) => [name, "string"])),
  lat: "double",
  lon: "double",
  currency: "string",
  tax_rate: "double",
  discount: "int",
  gift: "boolean",
  coupon: ["null", "string"],
  shipping: record("Shipping", {
    street: "string",
    city: "string",
    zip: "string",
    geo: { type: "array", items: "double" },
  }),
  tags: { type: "array", items: "string" },
  version: "int",
  trace: "string",
  experiment: record("Experiment", { name: "string", arm: "string", weight: "double" }),
  warehouse: "int",
  ...Object.fromEntries(["carrier", "note", "updated"].map((name) => [name, "string"])),
}).fields;

/** A sale with undeclared fields between its own. */
function wideOf(index: number): object {
  const own = Object.entries(saleOf(index));
  const others = Object.entries(undeclaredOf(index));
  return Object.fromEntries(own.flatMap((one, place) => [one, ...others.slice(place * 3, place * 3 + 3)]));
}

/** As Python's json.dumps writes text by default. */
function escaped(text: string): string {
  return text.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The same text without its accents. */
function ascii(text: string): string {
  return text
    .normalize("NFD")
    .replaceAll(/[\u0300-\u036f]/g, "")
    .replaceAll(/[^\0-\x7f]/g, "x");
}
