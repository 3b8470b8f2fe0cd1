import { Decompress } from "fzstd";
import xxhash, { type XXHash } from "xxhash-wasm";

/**
 * Unpacks Zstandard (RFC 8878), and checks the checksum of each frame that has one. The library fzstd, which expands
 * the blocks, does not check it, and most damaged files expand to other bytes without an error.
 */
export async function* unpackZstd(packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const { create64 } = await xxhash();
  const input = new Input(packed);
  for (let magic = await input.readOrEnd(MAGIC_BYTES); magic !== null; magic = await input.readOrEnd(MAGIC_BYTES)) {
    const number = magic.readUInt32LE();
    if (number === FRAME) yield* frame(input, magic, create64());
    else if (number >>> 4 === SKIPPABLE) await input.skip((await input.read(4)).readUInt32LE());
    else throw new Error("what follows is not Zstandard");
  }
}

const MAGIC_BYTES = 4;
const FRAME = 0xfd2fb528;
/** The user may choose the last four bits. */
const SKIPPABLE = 0x184d2a5;
const RUN = 1;
const RESERVED = 3;

async function* frame(input: Input, magic: Buffer, hash: XXHash<bigint>): AsyncIterable<Buffer> {
  const expanded: Buffer[] = [];
  const expander = new Decompress((part) => {
    const copy = Buffer.from(part);
    hash.update(copy);
    expanded.push(copy);
  });
  const take = () => expanded.splice(0);
  const { header, hasChecksum } = await readHeader(input);
  expander.push(Buffer.concat([magic, header]));
  for (let isLast = false; !isLast; ) {
    const block = await input.read(3);
    const [kind, size] = [(block.readUIntLE(0, 3) >>> 1) & 3, block.readUIntLE(0, 3) >>> 3];
    isLast = (block.readUInt8() & 1) === 1;
    if (kind === RESERVED) throw new Error("it has a block of an unknown kind");
    expander.push(Buffer.concat([block, await input.read(kind === RUN ? 1 : size)]));
    yield* take();
  }
  const checksum = hasChecksum ? await input.read(4) : null;
  if (checksum !== null) expander.push(checksum);
  expander.push(Buffer.alloc(0), true);
  yield* take();
  if (checksum !== null && Number(hash.digest() & 0xffffffffn) !== checksum.readUInt32LE())
    throw new Error("its checksum does not fit what it unpacks to");
}

/** Reads the header of a frame behind its magic number (RFC 8878, 3.1.1.1). */
async function readHeader(input: Input): Promise<{ readonly header: Buffer; readonly hasChecksum: boolean }> {
  const flags = await input.read(1);
  const bits = flags.readUInt8();
  const [sizeFlag, isSingle] = [bits >>> 6, (bits >>> 5) & 1];
  const sizeBytes = sizeFlag === 0 ? isSingle : 2 ** sizeFlag;
  const dictionaryBytes = [0, 1, 2, 4][bits & 3] ?? 0;
  const rest = await input.read(1 - isSingle + dictionaryBytes + sizeBytes);
  return { header: Buffer.concat([flags, rest]), hasChecksum: ((bits >>> 2) & 1) === 1 };
}

/** Reads bytes in the requested numbers, whatever the sizes of the pieces that arrive. */
class Input {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Returns the next `count` bytes; null at the end. Throws if there are some, but fewer. */
  async readOrEnd(count: number): Promise<Buffer | null> {
    const parts = [this.#held];
    let length = this.#held.length;
    while (length < count) {
      const { value, done } = await this.#source.next();
      if (done === true) break;
      parts.push(value);
      length += value.length;
    }
    const whole = parts.length === 1 ? this.#held : Buffer.concat(parts);
    this.#held = whole.subarray(Math.min(count, whole.length));
    if (length >= count) return whole.subarray(0, count);
    if (length === 0) return null;
    throw new Error("it ends inside a frame");
  }

  /** Returns the next `count` bytes. Throws if there are fewer. */
  async read(count: number): Promise<Buffer> {
    const bytes = count === 0 ? Buffer.alloc(0) : await this.readOrEnd(count);
    if (bytes === null) throw new Error("it ends inside a frame");
    return bytes;
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; left -= SKIPPED_BYTES) await this.read(Math.min(left, SKIPPED_BYTES));
  }
}

const SKIPPED_BYTES = 64 * 1024;
