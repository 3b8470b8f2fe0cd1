import { join } from "node:path";
import { z } from "zod";
import { decodingChanges } from "../../core/contract/contract-change.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { StreamDocument, streamDocument, streamFrom } from "../../core/contract/stream-document.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";

/** Of a view's definition: the stream. */
const Definition = z.object({ stream: StreamDocument });

/** What a contract of any release says, also of one whose fields this one does not know. */
const AnyContract = z.looseObject({ name: z.string(), revision: z.int(), topic: z.string().optional() });

/**
 * The contracts that stored data was decoded by, one document per stream and revision:
 * `streams/<name>/<revision>.json`. What decides decoding may change with the revision only, because archive and
 * generations name the revision of what they hold.
 */
export class Contracts {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Stores what is new. Throws DEFINITION_INVALID as `changes` and `moves` find. */
  async register(streams: Iterable<Stream>): Promise<void> {
    const known = [...streams];
    await this.require(known);
    for (const stream of known) await this.#data.createExclusively(documentOf(stream), streamDocument(stream));
    // Another process may have been faster, with other files.
    await this.require(known);
  }

  /**
   * Throws DEFINITION_INVALID when a stream has another topic than before, or decodes otherwise than what is stored
   * under its revision.
   */
  async require(streams: Iterable<Stream>): Promise<void> {
    const known = [...streams];
    const moves = await this.moves(known);
    if (moves.length > 0)
      throw new TidelineError(
        "DEFINITION_INVALID",
        moves.join("\n"),
        "Put the topic back, or give the stream another name: everything that is " +
          "stored under this one holds positions of its topic.",
      );
    const problems = await this.changes(known);
    if (problems.length === 0) return;
    throw new TidelineError(
      "DEFINITION_INVALID",
      problems.join("\n"),
      "Raise the stream's `revision`: its views are then built beside the old ones " +
        "from the whole history. Or put the property back.",
    );
  }

  /** The stored contract of a stream's highest revision; null when none is stored. Throws DATA_NEWER. */
  async newest(stream: string): Promise<Stream | null> {
    const revisions = (await this.#data.list(join("streams", stream))).map((file) => Number.parseInt(file, 10));
    const revision = Math.max(...revisions.filter(Number.isSafeInteger));
    const document = await this.#read({ name: stream, revision });
    return document === null ? null : streamFrom(document);
  }

  /** Streams whose topic is another one than in an earlier definition, of whatever revision: a sentence per stream. */
  async moves(streams: Iterable<Stream>): Promise<string[]> {
    const problems: string[] = [];
    for (const { name, topic } of streams) {
      const revisions = await this.#data.list(join("streams", name));
      const stored = await Promise.all(
        // A revision that a newer release has written says its topic as any other does.
        revisions.map((file) => this.#data.read(join("streams", name, file), AnyContract)),
      );
      const other = stored.find((document) => document !== null && (document.topic ?? null) !== topic);
      if (other == null) continue;
      const shown = (given: string | null | undefined) => (given == null ? "the stream's own" : `"${given}"`);
      problems.push(`stream ${name}: its topic was ${shown(other.topic)} and is now ${shown(topic)}`);
    }
    return problems;
  }

  /**
   * Streams whose decoding differs from what is stored under their revision: a sentence per stream, with what changed.
   * Throws DATA_NEWER.
   */
  async changes(streams: Iterable<Stream>): Promise<string[]> {
    const problems: string[] = [];
    let described: Promise<StreamDocument[]> | null = null;
    for (const stream of streams) {
      const { name, revision } = stream;
      const stored = await this.#read(stream);
      if (stored === null) described ??= this.#described();
      const before = stored === null ? ((await described) ?? []) : [stored];
      const same = before.filter((document) => document.name === name && document.revision === revision);
      const [least] = same
        .map((document) => decodingChanges(today(document), streamDocument(stream)))
        .sort((a, b) => a.length - b.length);
      if (least === undefined || least.length === 0) continue;
      problems.push(`stream ${name}: ${least.join("; ")}; but its revision is still ${revision}`);
    }
    return problems;
  }

  /**
   * The stored contract of a revision; null when there is none. Throws DATA_NEWER for one that this release does not
   * know.
   */
  async #read(of: Pick<Stream, "name" | "revision">): Promise<StreamDocument | null> {
    const file = documentOf(of);
    try {
      return await this.#data.read(file, StreamDocument);
    } catch (error) {
      if (!isTidelineError(error, "ARCHIVE_DAMAGED") || (await this.#data.read(file, AnyContract)) === null)
        throw error;
      throw new TidelineError(
        "DATA_NEWER",
        `${file} describes revision ${of.revision} of the stream "${of.name}" as this release does not know it`,
        "A newer release has written it. Start that one, restore the data directory as it was before it, " +
          "or raise the stream's `revision` beyond this one.",
        { cause: error },
      );
    }
  }

  /** The streams of stored generations: earlier releases kept a contract nowhere else. */
  async #described(): Promise<StreamDocument[]> {
    const generations = await this.#data.list("views");
    const read = generations.map((generation) =>
      this.#data.read(join("views", generation, "definition.json"), Definition).catch((error: unknown) => {
        // Another release may have written what this one does not read: that is not a contract to compare with.
        if (isTidelineError(error, "ARCHIVE_DAMAGED")) return null;
        throw error;
      }),
    );
    return (await Promise.all(read)).flatMap((found) => (found === null ? [] : [found.stream]));
  }
}

/**
 * As today's builders write it: a release may have given fields a property that they did not have. What they refuse
 * stays as it is: it can still be compared.
 */
function today(document: StreamDocument): StreamDocument {
  try {
    return streamDocument(streamFrom(document));
  } catch {
    return document;
  }
}

function documentOf({ name, revision }: Pick<Stream, "name" | "revision">): string {
  return join("streams", name, `${revision}.json`);
}
