import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { createGunzip } from "node:zlib";
import { TidelineError } from "../../core/errors.ts";

/** The unpacked bytes of a file or pipe, and how many were read. */
export interface Bytes {
  /** The size of the file on the disk; null for a pipe. */
  readonly total: number | null;
  /** How many of `total` bytes were read. */
  readonly done: number;
  /**
   * Returns the first bytes: at least `atLeast`, or all there are. For a pipe that sends nothing for `patienceMs`,
   * returns what it has sent. `chunks` returns these bytes again.
   */
  peek(atLeast: number, patienceMs?: number): Promise<Buffer>;
  /** Returns all bytes, in order. Throws INPUT_MISSING when they cannot be read or unpacked. */
  chunks(): AsyncIterable<Buffer>;
  /** Closes the file or pipe, even while a read waits for it. */
  close(): void;
}

const CHUNK_BYTES = 1024 * 1024;

/**
 * Opens a file, or standard input for "-". gzip and Zstandard are recognised by their first bytes. Throws
 * INPUT_MISSING.
 */
export async function openBytes(file: string): Promise<Bytes> {
  const isPipe = file === "-";
  const total = isPipe ? null : await sizeOf(file);
  const input = isPipe ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES });
  const counted = new Counted(input, total);
  const unpacked = unpackedBy(await counted.peek(4));
  return unpacked === null ? counted : new Unpacked(counted, unpacked(counted.chunks()), file);
}

async function sizeOf(file: string): Promise<number> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new TidelineError("INPUT_MISSING", `there is no file ${file}`, "Name a file that exists.", { cause });
  });
  if (found.isFile()) return found.size;
  throw new TidelineError("INPUT_MISSING", `${file} is not a file`, "Name a file, or - for standard input.");
}

/** Passes a source on after its first bytes were read. */
class Peeked {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer[] = [];
  /** A read that is still running. */
  #pending: Promise<IteratorResult<Buffer>> | null = null;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async peek(atLeast: number, patienceMs?: number): Promise<Buffer> {
    for (;;) {
      const length = this.#held.reduce((sum, one) => sum + one.length, 0);
      if (length >= atLeast) break;
      const read = await this.#read(length > 0 ? patienceMs : undefined);
      if (read === null || read.done === true) break;
      this.#held.push(read.value);
    }
    const whole = Buffer.concat(this.#held);
    this.#held = [whole];
    return whole;
  }

  async *chunks(): AsyncIterable<Buffer> {
    yield* this.#held.splice(0);
    for (;;) {
      const read = await this.#read();
      if (read === null || read.done === true) return;
      yield read.value;
    }
  }

  /** Returns the next chunk; null if none comes within `patienceMs`. */
  async #read(patienceMs?: number): Promise<IteratorResult<Buffer> | null> {
    this.#pending ??= this.#source.next();
    // The error is not lost: the next read throws it.
    this.#pending.catch(() => {});
    const read = patienceMs === undefined ? await this.#pending : await orNull(this.#pending, patienceMs);
    if (read !== null) this.#pending = null;
    return read;
  }
}

async function orNull<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  const timer = new AbortController();
  try {
    return await Promise.race([promise, setTimeout(ms, null, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

class Counted extends Peeked implements Bytes {
  readonly total: number | null;
  readonly #input: Readable;
  readonly #count: { done: number };

  constructor(input: Readable, total: number | null) {
    const count = { done: 0 };
    super(countedChunks(input, count));
    this.total = total;
    this.#input = input;
    this.#count = count;
  }

  close(): void {
    this.#input.destroy();
  }

  get done(): number {
    return this.#count.done;
  }
}

async function* countedChunks(input: Readable, count: { done: number }): AsyncIterable<Buffer> {
  for await (const chunk of input as AsyncIterable<Buffer>) {
    count.done += chunk.length;
    yield chunk;
  }
}

class Unpacked extends Peeked implements Bytes {
  readonly #packed: Bytes;

  constructor(packed: Bytes, source: AsyncIterable<Buffer>, file: string) {
    super(named(source, file));
    this.#packed = packed;
  }

  close(): void {
    this.#packed.close();
  }

  get total(): number | null {
    return this.#packed.total;
  }

  get done(): number {
    return this.#packed.done;
  }
}

async function* named(source: AsyncIterable<Buffer>, file: string): AsyncIterable<Buffer> {
  try {
    yield* source;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} cannot be unpacked: ${message}`,
      "It may be cut off or damaged: get it again.",
      {
        cause,
      },
    );
  }
}

type Unpack = (packed: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

function unpackedBy(head: Buffer): Unpack | null {
  if (head[0] === 0x1f && head[1] === 0x8b) return gunzipped;
  return head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528 ? zstdUnpacked : null;
}

function gunzipped(packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return pipeline(packed, createGunzip({ chunkSize: CHUNK_BYTES }), () => {}) as unknown as AsyncIterable<Buffer>;
}

/** The library is loaded only when a file needs it. */
async function* zstdUnpacked(packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const { unpackZstd } = await import("./zstd.ts");
  yield* unpackZstd(packed);
}
