import { readFileSync } from "node:fs";
import type { SampleRecord } from "../../discover/sample/sample.ts";

/**
 * Topics in the shapes that real producers write. Two have published data sets; the others are made, the same on every
 * run.
 */

export const NOW = Date.parse("2026-03-01T12:00:00Z");

/** Numbers between 0 and 1 that look random, the same on every run. */
export function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export interface Topic {
  readonly topic: string;
  readonly records: readonly SampleRecord[];
  readonly schemas?: ReadonlyMap<number, string>;
}

/** Values, JSON for those that are not bytes, spread over partitions by their keys. */
export function recordsOf(
  values: readonly unknown[],
  { keys, partitions = 2 }: { keys?: (index: number) => string | null; partitions?: number } = {},
): SampleRecord[] {
  const offsets = new Map<number, number>();
  return values.map((value, index) => {
    const key = keys?.(index) ?? null;
    const hash = key === null ? index : [...key].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7);
    const partition = Math.abs(hash % partitions);
    const offset = offsets.get(partition) ?? 0;
    offsets.set(partition, offset + 1);
    const bytes = value === null || value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value));
    return {
      ...{ partition, offset, timestampMs: NOW + index * 10, key: key === null ? null : Buffer.from(key) },
      header: () => null,
      value: bytes,
    };
  });
}

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const hex = (random: () => number, digits: number) =>
  many(digits, () => Math.floor(random() * 16).toString(16)).join("");
export const uuid = (random: () => number) => [8, 4, 4, 4, 12].map((digits) => hex(random, digits)).join("-");
function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

/** Events of GitHub's API. What `payload` has depends on the type. */
function github(): Topic {
  const random = numbersFrom(1);
  const values = many(600, (index) => {
    const type = pick(random, ["PushEvent", "PushEvent", "PushEvent", "WatchEvent", "IssuesEvent"]);
    const login = pick(random, ["octocat", "rodrigo", "ana"]);
    const payloads: Readonly<Record<string, () => object>> = {
      PushEvent: () => ({
        push_id: 2_489_651_000 + index,
        size: 1 + (index % 3),
        ref: "refs/heads/main",
        head: hex(random, 40),
        commits: many(1 + (index % 3), () => ({
          sha: hex(random, 40),
          author: { email: `${login}@example.com`, name: login },
          message: 'Fix the "quoted" thing\n\nand more',
          distinct: true,
        })),
      }),
      WatchEvent: () => ({ action: "started" }),
      IssuesEvent: () => ({
        action: pick(random, ["opened", "closed"]),
        issue: { id: 9_000_000 + index, number: index, title: "It does not work", body: null, labels: [] },
      }),
    };
    return {
      id: String(7_999_744_917 + index),
      type,
      actor: { id: 13_493_529, login, gravatar_id: "", url: `https://api.github.com/users/${login}` },
      repo: { id: 41_881_900, name: "Microsoft/vscode", url: "https://api.github.com/repos/Microsoft/vscode" },
      payload: payloads[type]?.(),
      public: true,
      created_at: new Date(NOW + index * 1_000).toISOString().replace(".000Z", "Z"),
      ...(index % 2 === 0 ? { org: { id: 6_154_722, login: "Microsoft" } } : {}),
    };
  });
  return { topic: "github-events", records: recordsOf(values) };
}

/** `stop_times.txt` of GTFS as rows of texts, as tools write CSV as JSON. */
function gtfs(): Topic {
  const values = many(800, (index) => ({
    trip_id: `0${1_000 + Math.floor(index / 8)}`,
    arrival_time: `${String(5 + (index % 22)).padStart(2, "0")}:30:00`,
    departure_time: `${String(5 + (index % 22)).padStart(2, "0")}:31:00`,
    stop_id: `STOP${index % 40}`,
    stop_sequence: String((index % 8) + 1),
    stop_headsign: "",
    pickup_type: index % 11 === 0 ? "1" : "0",
    shape_dist_traveled: ((index % 8) * 1.25).toFixed(2),
  }));
  return { topic: "gtfs_stop_times", records: recordsOf(values) };
}

/** Published by the USGS, as in the npm package `vega-datasets`: 1,707 earthquakes as GeoJSON. */
function earthquakes(): Topic {
  const file = new URL("../../node_modules/vega-datasets/data/earthquakes.json", import.meta.url);
  const { features } = JSON.parse(readFileSync(file, "utf8")) as { features: object[] };
  return { topic: "usgs.earthquakes", records: recordsOf(features) };
}

/** Rows of a database as Debezium unwraps them, with its fields added; keys as Kafka Connect writes them. */
function debezium(): Topic {
  const random = numbersFrom(4);
  const values = many(500, (index) => ({
    id: 1_000 + (index % 120),
    first_name: pick(random, ["Sally", "George", "Edward", "Anne"]),
    email: `customer${index % 120}@acme.com`,
    balance: "12.50",
    created_at: 1_772_366_400_000_000 + index * 1_000_000,
    birthday: 3_650 + index,
    __op: pick(random, ["c", "u", "r"]),
    __table: "customers",
    __source_ts_ms: NOW + index * 10,
    __deleted: index % 50 === 0 ? "true" : "false",
  }));
  return {
    topic: "dbserver1.inventory.customers",
    records: recordsOf(values, { keys: (index) => `{"id":${1_000 + (index % 120)}}` }),
  };
}

/** Orders as Jackson writes Spring's objects: camel case, nested, nulls for what is absent. */
function spring(): Topic {
  const random = numbersFrom(5);
  const orders = many(500, (index) => ({
    orderId: uuid(random),
    customerId: Math.floor(random() * 90) + 1,
    orderStatus: pick(random, ["NEW", "PAID", "SHIPPED"]),
    orderDate: new Date(NOW + index * 60_000).toISOString().replace("Z", "+00:00"),
    totalAmount: Math.round(random() * 10_000) / 100,
    currency: pick(random, ["EUR", "USD"]),
    shippingAddress: { street: "Main Street 1", city: "Ulm", zipCode: "01067", countryCode: "DE" },
    couponCode: index % 9 === 0 ? "SPRING" : null,
    giftWrap: index % 7 === 0,
    orderItems: many(1 + (index % 4), (item) => ({
      productSku: `SKU-${item}`,
      quantity: item + 1,
      unitPrice: Math.round(random() * 900) / 100,
    })),
    tags: ["web", "app"].slice(0, index % 3),
  }));
  // Some are sent twice.
  const values = orders.flatMap((order, index) => (index % 100 === 3 ? [order, order] : [order]));
  const ids = values.map(({ orderId }) => orderId);
  return { topic: "prod.Orders_v1", records: recordsOf(values, { keys: (index) => ids[index] ?? "" }) };
}

/** The order of a Python tutorial: times without an offset. */
function python(): Topic {
  const random = numbersFrom(6);
  const values = many(300, (index) => ({
    order_id: `ORD-${10_000 + index}`,
    customer_id: `CUST-${index % 37}`,
    amount: random() * 500,
    quantity: 1 + (index % 5),
    timestamp: new Date(Date.parse("2024-01-15T14:30:00Z") + index * 7_000).toISOString().slice(0, 19),
  }));
  return { topic: "orders", records: recordsOf(values) };
}

/** Go: RFC 3339 with nanoseconds and an offset, fields in Go's case, and the zero time. */
function go(): Topic {
  const random = numbersFrom(7);
  const values = many(300, (index) => ({
    ID: uuid(random).toUpperCase(),
    DeviceID: `dev-${index % 12}`,
    TakenAt: `2026-03-01T13:${String(index % 60).padStart(2, "0")}:05.${String(123_456_789 + index)}+01:00`,
    LastSeenAt: index % 3 === 0 ? "0001-01-01T00:00:00Z" : "2026-02-28T23:59:59.9+01:00",
    TemperatureC: Math.round(random() * 400 - 100) / 10,
    HTTPStatus: pick(random, [200, 200, 404]),
  }));
  return { topic: "readings.v2", records: recordsOf(values) };
}

/** Two kinds of events on one topic; times are fractions of seconds. */
function users(): Topic {
  const values = many(400, (index) => {
    const timestamp = 1_700_000_000.123 + index * 3;
    if (index % 4 === 0)
      return {
        event_type: "order_paid",
        data: { user_id: index % 50, order_ref: `o${index}`, total: 12.5 },
        timestamp,
      };
    return { event_type: "user_created", data: { user_id: index, email: `u${index}@example.com` }, timestamp };
  });
  return { topic: "user-events", records: recordsOf(values, { keys: (index) => `k${index}` }) };
}

/** A table as CSV tools write it as JSON: all values are texts. */
function csv(): Topic {
  const random = numbersFrom(9);
  const values = many(500, (index) => ({
    "Transaction No": String(100_000 + index),
    "Booked on": `2026-02-${String((index % 28) + 1).padStart(2, "0")}`,
    Amount: (random() * 100 - 30).toFixed(2),
    Pieces: String(1 + (index % 9)),
    "is paid": index % 2 === 0 ? "1" : "0",
    Größe: pick(random, ["S", "M", "L"]),
    order: String(index % 5),
  }));
  return { topic: "export_2026", records: recordsOf(values) };
}

const SENSOR = {
  type: "record",
  name: "Reading",
  namespace: "com.example",
  fields: [
    { name: "readingId", type: { type: "string", logicalType: "uuid" } },
    { name: "takenAt", type: { type: "long", logicalType: "timestamp-micros" } },
    { name: "day", type: { type: "int", logicalType: "date" } },
    { name: "level", type: { type: "enum", name: "Level", symbols: ["LOW", "HIGH", "NEVER_SEEN"] } },
    { name: "value", type: "double" },
    { name: "note", type: ["null", "string"], default: null },
    { name: "place", type: { type: "record", name: "Place", fields: [{ name: "stationCode", type: "string" }] } },
    { name: "raw", type: "bytes" },
  ],
};

/** Records of Confluent's Avro serializer, with one schema that is registered and one that is not. */
function avro(): Topic {
  const random = numbersFrom(10);
  const values = many(300, (index) => {
    const id = index % 100 === 99 ? 78 : 77;
    const head = Buffer.alloc(5);
    head.writeUInt32BE(id, 1);
    return Buffer.concat([
      head,
      avroText(uuid(random)),
      zigzag(BigInt(NOW) * 1_000n + BigInt(index) * 1_000_000n),
      zigzag(BigInt(20_513 + (index % 5))),
      zigzag(BigInt(index % 2)),
      doubleOf(Math.floor(random() * 100)),
      ...(index % 3 === 0 ? [zigzag(1n), avroText("checked")] : [zigzag(0n)]),
      avroText(`ST${index % 6}`),
      zigzag(2n),
      Buffer.from([0, 255]),
    ]);
  });
  return { topic: "sensors-avro", records: recordsOf(values), schemas: new Map([[77, JSON.stringify(SENSOR)]]) };
}

function zigzag(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = value < 0n ? -2n * value - 1n : 2n * value;
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  return Buffer.from([...bytes, Number(left)]);
}

function avroText(text: string): Buffer {
  return Buffer.concat([zigzag(BigInt(Buffer.byteLength(text))), Buffer.from(text)]);
}

function doubleOf(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

export const TOPICS: readonly Topic[] = [
  github(),
  gtfs(),
  earthquakes(),
  debezium(),
  spring(),
  python(),
  go(),
  users(),
  csv(),
  avro(),
];
