import { parsePath, type WirePath } from "../../core/contract/record/wire-path.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Bytes } from "../read/bytes.ts";
import { decoded, type Encoding } from "../read/encoding.ts";
import { type JsonPiece, type JsonSplitter, jsonSplitter } from "../read/json.ts";
import { rowIdOf } from "./columns.ts";
import { withColumns } from "./json-columns.ts";
import { type FileOptions, inPieces, next, type Source, type SourceRow } from "./source.ts";

/**
 * Opens a JSON text. Its values keep their bytes, unless columns are renamed or made; text in another encoding becomes
 * UTF-8. Throws BAD_REQUEST for options that do not apply to JSON.
 */
export function jsonSource(
  bytes: Bytes,
  options: FileOptions & { readonly encoding: Encoding },
  stream: Stream,
): Source {
  const columns = columnsOf(options, stream);
  return {
    ...{ total: bytes.total, unit: "bytes", isLive: bytes.total === null, columns: [] },
    pieces: jsonPieces(bytes, options, columns),
    close: () => bytes.close(),
  };
}

type Placed = (json: Buffer, row: number) => Buffer;

/** Returns the changes to each row's text; null if it is kept. */
function columnsOf({ names, renamed, rowId }: FileOptions, stream: Stream): Placed | null {
  if (names !== null)
    throw new TidelineError(
      "BAD_REQUEST",
      "--columns names columns by their order, and JSON has names",
      "Say which name each field has: --columns id=ride_id,at=$.times.start",
    );
  if (renamed.size === 0 && rowId === null) return null;
  if (stream.versions.some(({ wire }) => wire !== null))
    throw new TidelineError(
      "BAD_REQUEST",
      `${stream.name} says itself where records have its fields, so its JSON is sent as it is`,
      "Leave --columns and --row-id out, or change the contract's paths.",
    );
  const places = new Map([...renamed].map(([field, column]) => [field, placeOf(column)]));
  return (json, row) =>
    withColumns(json, { places, given: rowId === null ? {} : { [rowId.field]: rowIdOf(rowId, row) } });
}

/** Parses a member's name, or a path that begins with a dollar sign. Throws BAD_REQUEST for an invalid path. */
function placeOf(text: string): WirePath {
  if (!/^\$[.[]/.test(text)) return [text];
  try {
    return parsePath(text);
  } catch (cause) {
    throw new TidelineError("BAD_REQUEST", (cause as Error).message, "Write $.outer.inner, or $['a name'].inner.", {
      cause,
    });
  }
}

/**
 * While the first value of a JSON text is not complete, at least this many bytes are read to decide how to split it.
 */
const HEAD_BYTES = 64 * 1024;

async function* jsonPieces(
  bytes: Bytes,
  { encoding, kind, rows: place }: FileOptions & { readonly encoding: Encoding },
  placed: Placed | null,
) {
  const chunks = encoding === "utf-8" ? withoutMark(bytes.chunks()) : asUtf8(decoded(bytes.chunks(), encoding));
  let splitter: JsonSplitter | null = null;
  let head: Buffer = Buffer.alloc(0);
  let row = 0;
  const push = (chunk: Buffer, isLast: boolean) => {
    head = splitter === null ? Buffer.concat([head, chunk]) : head;
    const isWhole = isLast || head.length >= HEAD_BYTES;
    const current: JsonSplitter | null =
      splitter ?? jsonSplitter(head, { isWhole, linesOnly: kind === "ndjson", place });
    current?.push(splitter === null ? head : chunk, isLast);
    splitter = current;
    return (): SourceRow[] => {
      const rows: SourceRow[] = [];
      if (current === null) return rows;
      for (let piece = next(current, rows); piece !== null; piece = next(current, rows)) {
        const { line } = piece;
        row += 1;
        if ("json" in piece) rows.push({ row, line, json: placed?.(piece.json, row) ?? piece.json });
        else rows.push({ row, line, ...refusedPiece(piece) });
      }
      return rows;
    };
  };
  for await (const chunk of chunks) yield* inPieces(push(chunk, false), bytes);
  yield* inPieces(push(Buffer.alloc(0), true), bytes);
}

function refusedPiece({ problem, advice, isEnd }: Extract<JsonPiece, { problem: string }>) {
  return { refused: { reason: problem, ...(advice === undefined ? {} : { advice }) }, isEnd };
}

async function* withoutMark(chunks: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  let isFirst = true;
  for await (const chunk of chunks) {
    const hasMark = isFirst && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf;
    yield hasMark ? chunk.subarray(3) : chunk;
    isFirst = false;
  }
}

async function* asUtf8(texts: AsyncIterable<string>): AsyncIterable<Buffer> {
  for await (const text of texts) yield Buffer.from(text);
}
