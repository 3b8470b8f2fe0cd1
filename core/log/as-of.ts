import { z } from "zod";
import { BitReader, BitWriter } from "./bits.ts";
import { at, type Cut, cutFromJson, type Position, partitionsOf, position } from "./position.ts";

/**
 * The position of an answer: it contains exactly the log below `applied`, of which `version` has the part below `cut`.
 */
export interface AsOf {
  readonly generation: string;
  readonly version: number;
  readonly cut: Cut;
  readonly applied: Cut;
}

/** The positions of an answer about several tables, by the tables' names in the query. */
export type JoinedAsOf = ReadonlyMap<string, AsOf>;

/** A version that a token names in place of its cut. */
export type NamedVersion = Pick<AsOf, "generation" | "version">;

/** Returns the cut of a version. Null if it is not known. */
export type CutOf = (named: NamedVersion) => Cut | null;

/**
 * A token is base64url of bits: the form, the generation, the version, the positions, and a check of all of them.
 *
 *   whole    both cut and applied positions: the token can be read by itself
 *   packed   the distances of the applied positions from the version's cut, which has to be looked up
 *
 * Tokens of streams with more partitions than this are packed. With 256 partitions a token has at most 800 characters,
 * unless a partition has 100,000 records more beyond the cut than another. Tokens of earlier releases are base64url of
 * JSON.
 */
const MOST_WHOLE_PARTITIONS = 64;
const WHOLE = 1n;
const PACKED = 2n;
const FORM_BITS = 8;
const VERSION_ORDER = 8;
const COUNT_ORDER = 4;
const CHECK_BITS = 24;
const MOST_PARTITIONS = 10_000;
const LAST_PARTITION = 999_999;
const LAST_POSITION = 2n ** 63n - 1n;

/** Between the parts of a joined answer's token: `name~token` for each table, with dots in between. */
const BETWEEN_TABLES = ".";
const BEFORE_TOKEN = "~";

const cut = z.record(z.string().regex(/^\d{1,6}$/), z.string().regex(/^\d{1,19}$/));
const JsonToken = z.strictObject({ g: z.string(), v: z.int().min(0), c: cut, a: cut });
const JsonJoinedToken = z.strictObject({ j: z.record(z.string(), JsonToken) });

/** Returns an opaque token for clients, who send it back and do not read it. */
export function encodeAsOf(asOf: AsOf): string {
  return encoded(asOf, asOf.applied.size <= MOST_WHOLE_PARTITIONS ? WHOLE : PACKED);
}

/** Returns a token that can be read without knowing any version, however long it is. */
export function encodeWholeAsOf(asOf: AsOf): string {
  return encoded(asOf, WHOLE);
}

/** Returns the position in a token. Null if it is not a token of ours, or names a version whose cut is not known. */
export function decodeAsOf(token: string, cutOf: CutOf = () => null): AsOf | null {
  const bytes = bytesOf(token);
  if (bytes === null) return null;
  return bytes[0] === JSON_START ? jsonAsOf(bytes) : orNull(() => readToken(new BitReader(bytes), cutOf));
}

/**
 * Returns the versions whose cuts are needed to read a token, or each token of a joined one. Reads only the beginnings
 * of tokens.
 */
export function namedVersions(token: string): NamedVersion[] {
  return tokensIn(token).flatMap((one) => {
    const bytes = bytesOf(one);
    if (bytes === null || bytes[0] !== Number(PACKED)) return [];
    const head = orNull(() => readHead(new BitReader(bytes)));
    return head === null ? [] : [{ generation: head.generation, version: head.version }];
  });
}

/**
 * Returns the same token, or joined token, in the form that can be read without knowing any version. A text that is not
 * a token stays unchanged.
 */
export function withCuts(token: string, cutOf: CutOf): string {
  const whole = (one: string) => {
    const asOf = decodeAsOf(one, cutOf);
    return asOf === null ? one : encodeWholeAsOf(asOf);
  };
  if (!token.includes(BEFORE_TOKEN)) return whole(token);
  const parts = token.split(BETWEEN_TABLES).map((part) => part.split(BEFORE_TOKEN));
  return parts.map(([name = "", one = ""]) => `${name}${BEFORE_TOKEN}${whole(one)}`).join(BETWEEN_TABLES);
}

/** The same as `encodeAsOf`, for an answer about several tables. */
export function encodeJoinedAsOf(asOf: JoinedAsOf): string {
  return [...asOf].map(([name, one]) => `${name}${BEFORE_TOKEN}${encodeAsOf(one)}`).join(BETWEEN_TABLES);
}

/** Returns the positions in a token of an answer about several tables. Null if it is not such a token. */
export function decodeJoinedAsOf(token: string): JoinedAsOf | null {
  if (!token.includes(BEFORE_TOKEN)) return jsonJoinedAsOf(token);
  const found = new Map<string, AsOf>();
  for (const part of token.split(BETWEEN_TABLES)) {
    const [name = "", one = "", ...more] = part.split(BEFORE_TOKEN);
    const asOf = decodeAsOf(one);
    if (asOf === null || more.length > 0 || found.has(name)) return null;
    found.set(name, asOf);
  }
  return found;
}

function tokensIn(token: string): string[] {
  if (!token.includes(BEFORE_TOKEN)) return [token];
  return token.split(BETWEEN_TABLES).map((part) => part.split(BEFORE_TOKEN)[1] ?? "");
}

function encoded(asOf: AsOf, form: bigint): string {
  const { generation, version, cut, applied } = asOf;
  const bits = new BitWriter();
  bits.fixed(form, FORM_BITS);
  bits.text(generation);
  bits.number(BigInt(version), VERSION_ORDER);
  const partitions = partitionsOf(applied);
  writePartitions(bits, partitions);
  bits.list(partitions.map((partition) => at(applied, partition) - at(cut, partition)));
  if (form === WHOLE) {
    const ofCut = partitionsOf(cut);
    const isSame = ofCut.length === partitions.length && ofCut.every((one) => applied.has(one));
    bits.flag(isSame);
    if (!isSame) writePartitions(bits, ofCut);
    bits.list(ofCut.map((partition) => at(cut, partition)));
  }
  bits.fixed(checkOf(asOf), CHECK_BITS);
  return bits.bytes().toString("base64url");
}

/** Returns the bytes of a token. Null for a text with characters that are not base64url, which a decoder would skip. */
function bytesOf(token: string): Buffer | null {
  const bytes = Buffer.from(token, "base64url");
  return bytes.toString("base64url") === token ? bytes : null;
}

/** Returns the result of `read`. Null where the bits are not a token. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function readHead(bits: BitReader): NamedVersion & { readonly form: bigint } {
  const form = bits.fixed(FORM_BITS);
  if (form !== WHOLE && form !== PACKED) throw new RangeError("another form");
  const generation = bits.text();
  const version = Number(bits.number(VERSION_ORDER));
  if (!Number.isSafeInteger(version)) throw new RangeError("no number of a version");
  return { form, generation, version };
}

function readToken(bits: BitReader, cutOf: CutOf): AsOf | null {
  const { form, generation, version } = readHead(bits);
  // Read no further if the version is not known.
  const known = form === WHOLE ? null : cutOf({ generation, version });
  if (form === PACKED && known === null) return null;
  const partitions = readPartitions(bits);
  const beyond = bits.list(partitions.length);
  const cut = known ?? readCut(bits, partitions);
  const applied = new Map(
    partitions.map((partition, index) => [partition, stored(at(cut, partition) + (beyond[index] ?? 0n))]),
  );
  const asOf = { generation, version, cut, applied };
  return bits.fixed(CHECK_BITS) === checkOf(asOf) && bits.isAtEnd() ? asOf : null;
}

function readCut(bits: BitReader, same: readonly number[]): Cut {
  const partitions = bits.flag() ? same : readPartitions(bits);
  const positions = bits.list(partitions.length);
  return new Map(partitions.map((partition, index): [number, Position] => [partition, stored(positions[index] ?? 0n)]));
}

/** Returns a position that can be stored. Throws RangeError for any other. */
function stored(offset: bigint): Position {
  if (offset > LAST_POSITION) throw new RangeError(`no position: ${offset}`);
  return position(offset);
}

/**
 * Writes ascending partitions: their number and, unless they are 0, 1, 2 …, the distance of each from the one before.
 */
function writePartitions(bits: BitWriter, partitions: readonly number[]): void {
  bits.number(BigInt(partitions.length), COUNT_ORDER);
  const isDense = partitions.every((partition, index) => partition === index);
  bits.flag(isDense);
  if (isDense) return;
  for (const [index, partition] of partitions.entries())
    bits.number(BigInt(partition - (partitions[index - 1] ?? 0)), 0);
}

/** Reads partitions written by `writePartitions`. Throws RangeError where partitions do not ascend or are too many. */
function readPartitions(bits: BitReader): number[] {
  const count = Number(bits.number(COUNT_ORDER));
  const isDense = bits.flag();
  // Each partition is followed by a position of at least one bit.
  if (count > Math.min(MOST_PARTITIONS, bits.left)) throw new RangeError("too many partitions");
  if (isDense) return Array.from({ length: count }, (_, index) => index);
  const partitions: number[] = [];
  for (let index = 0; index < count; index++) {
    const distance = bits.number(0);
    const partition = (partitions[index - 1] ?? 0) + Number(distance);
    if ((index > 0 && distance === 0n) || partition > LAST_PARTITION) throw new RangeError("no partition");
    partitions.push(partition);
  }
  return partitions;
}

/**
 * Returns 24 bits computed from everything in a token and the cut that it may build on (FNV-1a over units of 32 bits).
 * They do not match if the token was cut off or altered, or if its version has another cut now.
 */
function checkOf({ generation, version, cut, applied }: AsOf): bigint {
  let hash = 0x811c9dc5;
  const add = (unit: number) => {
    hash = Math.imul(hash ^ unit, 0x01000193);
  };
  const addPositions = (positions: Cut) => {
    add(positions.size);
    for (const partition of partitionsOf(positions)) {
      const offset = at(positions, partition);
      add(partition);
      add(Number(offset >> 32n));
      add(Number(offset & 0xffffffffn));
    }
  };
  for (let index = 0; index < generation.length; index++) add(generation.charCodeAt(index));
  add(version);
  addPositions(cut);
  addPositions(applied);
  return BigInt((hash ^ (hash >>> CHECK_BITS)) & (2 ** CHECK_BITS - 1));
}

const JSON_START = "{".charCodeAt(0);

function jsonAsOf(bytes: Buffer): AsOf | null {
  const body = JsonToken.safeParse(json(bytes));
  return body.success ? asOfFrom(body.data) : null;
}

function jsonJoinedAsOf(token: string): JoinedAsOf | null {
  const body = JsonJoinedToken.safeParse(json(Buffer.from(token, "base64url")));
  if (!body.success) return null;
  return new Map(Object.entries(body.data.j).map(([name, one]) => [name, asOfFrom(one)]));
}

function asOfFrom({ g, v, c, a }: z.infer<typeof JsonToken>): AsOf {
  return { generation: g, version: v, cut: cutFromJson(c), applied: cutFromJson(a) };
}

/** Returns the value of a JSON text. Undefined for any other text. */
function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
