import { setImmediate } from "node:timers/promises";
import { AVRO_HEADER_BYTES, recordText, type SchemaLookup } from "../../core/codec/decode/decode.ts";
import type { BodyScanner, RecordScanner } from "../../core/codec/decode/scan.ts";
import type { RecordPlace } from "../../core/contract/record/record-part.ts";
import type { Version } from "../../core/contract/stream.ts";
import type { FetchedPartition } from "../kafka/read/log.ts";
import type { Records } from "../kafka/read/records.ts";

/** Records of a partition, as they were fetched or archived. */
export type RecordBatch = Pick<FetchedPartition, "partition" | "records">;

/** The rows of a batch, numbered across its partitions. */
export class BatchRows {
  readonly length: number;
  readonly #parts: readonly (RecordBatch & { readonly first: number })[];

  constructor(batch: readonly RecordBatch[]) {
    let first = 0;
    this.#parts = batch.map(({ partition, records }) => {
      first += records.length;
      return { partition, records, first: first - records.length };
    });
    this.length = first;
  }

  value(row: number): Buffer | null {
    const { records, first } = this.#part(row);
    return records.value(row - first);
  }

  key(row: number): Buffer | null {
    const { records, first } = this.#part(row);
    return records.key(row - first);
  }

  /** Returns a row's record without its value. */
  place(row: number): RecordPlace {
    const { partition, records, first } = this.#part(row);
    return placeOf(partition, records, row - first);
  }

  /** Returns the ids of the schemas of its Avro records. */
  schemaIds(): Set<number> {
    const ids = new Set<number>();
    for (const { records } of this.#parts)
      records.eachValue((bytes, begin, end) => {
        if (isAvro(bytes, begin, end) && end - begin >= AVRO_HEADER_BYTES) ids.add(bytes.readUInt32BE(begin + 1));
      });
    return ids;
  }

  /**
   * Scans all rows in order, a slice at a time. The event loop runs between slices, because the database works on the
   * batch before at the same time, and its results are waited for.
   */
  async scanAll(scanner: RecordScanner, avro: AvroBodies): Promise<void> {
    scanner.clear();
    const plain = scanOneBy(scanner, avro);
    for (const { partition, records } of this.#parts) {
      const scanOne = scanner.needsPlace ? withPlaces(scanner, partition, records, plain) : plain;
      for (let from = 0; from < records.length; from += SLICE_RECORDS) {
        if (from > 0) await setImmediate();
        records.eachValue(scanOne, { from, to: from + SLICE_RECORDS });
      }
    }
  }

  /** Scans some rows in order. */
  scanSome(scanner: RecordScanner, avro: AvroBodies, some: readonly number[]): void {
    scanner.clear();
    const scanOne = scanOneBy(scanner, avro);
    for (const row of some) {
      const value = this.value(row) ?? NO_BYTES;
      scanner.place = this.place(row);
      scanOne(value, 0, value.length);
    }
  }

  #part(row: number) {
    const part = this.#parts.find(({ records, first }) => row < first + records.length);
    if (part === undefined) throw new RangeError(`the batch has no row ${row}`);
    return part;
  }
}

/** It takes about two milliseconds to scan this many. */
const SLICE_RECORDS = 2_000;
const NO_BYTES = Buffer.alloc(0);

function scanOneBy(scanner: RecordScanner, avro: AvroBodies) {
  return (bytes: Buffer, begin: number, end: number) => {
    if (isAvro(bytes, begin, end)) avro.scan(scanner, bytes, begin, end);
    else scanner.scan(bytes, begin, end);
  };
}

type ScanOne = ReturnType<typeof scanOneBy>;

function withPlaces(scanner: RecordScanner, partition: number, records: Records, scanOne: ScanOne) {
  return (bytes: Buffer, begin: number, end: number, index: number) => {
    scanner.place = placeOf(partition, records, index);
    scanOne(bytes, begin, end);
  };
}

/** Returns a record without its value. */
export function placeOf(partition: number, records: Records, index: number): RecordPlace {
  return {
    partition,
    offset: Number(records.offset(index)),
    timestampMs: records.timestampMs(index),
    key: records.key(index),
    header: (name) => records.header(index, name),
  };
}

/** Whether a value begins with Avro's magic byte. */
function isAvro(bytes: Uint8Array, begin: number, end: number): boolean {
  return begin < end && bytes[begin] === 0;
}

/**
 * Scans Avro records as events of one version: by their writer's schema, or where that is not possible as JSON text.
 */
export class AvroBodies {
  readonly #version: Version;
  readonly #schemas: SchemaLookup;
  /** The schema of the record before. The next one nearly always has the same. */
  #id: number | null = null;
  #body: BodyScanner | null = null;

  constructor(version: Version, schemas: SchemaLookup) {
    this.#version = version;
    this.#schemas = schemas;
  }

  scan(scanner: RecordScanner, bytes: Buffer, begin: number, end: number): void {
    const body = end - begin < AVRO_HEADER_BYTES ? null : this.#bodyOf(bytes.readUInt32BE(begin + 1));
    if (body !== null) {
      scanner.scan(bytes, begin + AVRO_HEADER_BYTES, end, body);
      return;
    }
    const said = recordText(bytes.subarray(begin, end), this.#schemas);
    const json = said.ok ? Buffer.from(said.text) : NO_BYTES;
    scanner.scan(json, 0, json.length);
  }

  #bodyOf(id: number): BodyScanner | null {
    if (id !== this.#id) {
      this.#id = id;
      this.#body = this.#schemas(id)?.scannerOf(this.#version) ?? null;
    }
    return this.#body;
  }
}
