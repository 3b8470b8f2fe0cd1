import { dirname, join } from "node:path";
import { quoteText } from "../../core/contract/sql.ts";
import { EventMaker, isRefusal } from "../../ingest/send/event-maker.ts";
import { sendEvents } from "../../ingest/send/send-events.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import { PLAIN_FORMS } from "../../ingest/send/value-forms.ts";
import { flights } from "../../schemas/flights.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { parquetRows } from "../../store/duckdb/parquet.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { type EventRecord, openProducer } from "../../store/kafka/produce/producer.ts";
import { flightsFile } from "../../systems/shop/flights/flights.ts";
import { type Figure, figure, limit } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";

const ROWS = 400_000;
const ROUNDS = 3;
/** As `sendEvents` has them. */
const PIECE_RECORDS = 64;
const PIECES_UNDER_WAY = 512;

/**
 * `tideline send` of a CSV of real flights (vega-datasets), to the acknowledgement of the last row. The ceiling is the
 * producer alone, which sends the same records, made beforehand.
 */
export async function benchSend(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async ({ brokers, home }) => {
    const file = await flightsCsv(home);
    const topic = topicName("", flights.name);
    const records = await recordsOf(file);
    const rounds: { ours: number; ceiling: number }[] = [];
    const cpu: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      report(`round ${round} of ${ROUNDS}`);
      const ceiling = await rateOf(() => sendRecords(brokers, topic, records));
      const before = process.cpuUsage();
      const ours = await rateOf(() => sendFile(brokers, topic, file));
      const { user, system } = process.cpuUsage(before);
      cpu.push((user + system) / ROWS);
      rounds.push({ ours, ceiling });
    }
    return [
      figure("send of a CSV, acknowledged, against the producer alone", "rows/s", 0.4, rounds),
      limit("CPU of send for a row of CSV", "µs", null, cpu),
    ];
  });
}

async function rateOf(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (ROWS / (performance.now() - startMs)) * 1_000;
}

/** The first flights as CSV, with times as people write them and a number of their own. */
async function flightsCsv(folder: string): Promise<string> {
  const source = flightsFile();
  const file = join(folder, "flights.csv");
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [dirname(source), folder] });
  const duck = await pool.connect();
  const columns =
    "file_row_number AS row, date AS departed_at, delay AS delay_minutes, " +
    "distance AS distance_miles, origin, destination";
  const select = `SELECT ${columns} FROM ${parquetRows([source], { numbersRows: true })} LIMIT ${ROWS}`;
  await duck.run(`COPY (${select}) TO ${quoteText(file)} (FORMAT csv, HEADER)`);
  duck.closeSync();
  pool.close();
  return file;
}

async function recordsOf(file: string): Promise<EventRecord[]> {
  const source = await openSource(file, flights);
  const maker = new EventMaker({ stream: flights, forms: PLAIN_FORMS }, source.columns);
  const records: EventRecord[] = [];
  for await (const { rows } of source.pieces)
    for (const row of rows) {
      const made = "cells" in row ? maker.ofCells(row.cells) : { reason: "no row of a table" };
      if (isRefusal(made)) throw new Error(`row ${row.row}: ${made.reason}`);
      records.push({ key: made.key, value: Buffer.from(made.value ?? "") });
    }
  source.close();
  if (records.length !== ROWS) throw new Error(`${records.length} flights, not ${ROWS}`);
  return records;
}

async function sendRecords(brokers: string, topic: string, records: readonly EventRecord[]): Promise<void> {
  const producer = await openProducer({ brokers });
  const underWay: Promise<unknown>[] = [];
  for (let from = 0; from < records.length; from += PIECE_RECORDS) {
    underWay.push(producer.send(topic, records.slice(from, from + PIECE_RECORDS)));
    while (underWay.length >= PIECES_UNDER_WAY) await underWay.shift();
  }
  await Promise.all(underWay);
  await producer.close();
}

async function sendFile(brokers: string, topic: string, file: string): Promise<void> {
  const source = await openSource(file, flights);
  const { sent } = await sendEvents(source, {
    ...{ brokers, topic, file, stream: flights, dryRun: false, skipInvalid: false },
    stop: new AbortController().signal,
    onInvalid: () => {},
    onProgress: () => {},
  });
  source.close();
  if (sent !== ROWS) throw new Error(`${sent} flights were sent, not ${ROWS}`);
}
