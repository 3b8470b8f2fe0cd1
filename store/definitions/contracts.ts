import { join } from "node:path";
import { z } from "zod";
import { decodingChanges } from "../../core/contract/contract-change.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { StreamDocument, streamDocument, streamFrom } from "../../core/contract/stream-document.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";

/** The stream in a view's stored definition. */
const Definition = z.object({ stream: StreamDocument });

/** The properties that a contract of any release has, even if this release does not know its fields. */
const AnyContract = z.looseObject({ name: z.string(), revision: z.int(), topic: z.string().optional() });

/**
 * The contracts by which stored data was decoded, one document per stream and revision:
 * `streams/<name>/<revision>.json`. A change of decoding needs a new revision, because archive and generations refer to
 * their contract by its revision.
 */
export class Contracts {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Stores new contracts. Throws DEFINITION_INVALID for problems that `changes` and `moves` find. */
  async register(streams: Iterable<Stream>): Promise<void> {
    const known = [...streams];
    await this.require(known);
    for (const stream of known) await this.#data.createExclusively(documentOf(stream), streamDocument(stream));
    // Another process may have stored contracts of other files first.
    await this.require(known);
  }

  /**
   * Throws DEFINITION_INVALID when a stream has another topic than before, or its decoding differs from that of its
   * stored revision.
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

  /** Returns the stored contract of a stream's highest revision. Null when none is stored. Throws DATA_NEWER. */
  async newest(stream: string): Promise<Stream | null> {
    const revisions = (await this.#data.list(join("streams", stream))).map((file) => Number.parseInt(file, 10));
    const revision = Math.max(...revisions.filter(Number.isSafeInteger));
    const document = await this.#read({ name: stream, revision });
    return document === null ? null : streamFrom(document);
  }

  /**
   * Returns the streams whose topic differs from that of an earlier definition, of any revision: one sentence per
   * stream.
   */
  async moves(streams: Iterable<Stream>): Promise<string[]> {
    const problems: string[] = [];
    for (const { name, topic } of streams) {
      const revisions = await this.#data.list(join("streams", name));
      const stored = await Promise.all(
        // A revision that a newer release has written has its topic in the same place.
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
   * Returns the streams whose decoding differs from their stored revision: one sentence per stream, with the changes.
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
   * Returns the stored contract of a revision. Null when there is none. Throws DATA_NEWER if this release does not know
   * its form.
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

  /** Returns the streams of stored generations: earlier releases stored contracts nowhere else. */
  async #described(): Promise<StreamDocument[]> {
    const generations = await this.#data.list("views");
    const read = generations.map((generation) =>
      this.#data.read(join("views", generation, "definition.json"), Definition).catch((error: unknown) => {
        // Another release may have written a document that this one cannot read. There is no contract to compare with
        // then.
        if (isTidelineError(error, "ARCHIVE_DAMAGED")) return null;
        throw error;
      }),
    );
    return (await Promise.all(read)).flatMap((found) => (found === null ? [] : [found.stream]));
  }
}

/**
 * Returns a document in the form of the present builders, because a release may have added properties to fields. A
 * document that the builders refuse stays unchanged, and can still be compared.
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
