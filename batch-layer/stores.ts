import type { Stream } from "../core/contract/stream.ts";
import type { Generation } from "../core/definition/generation.ts";
import type { View } from "../core/definition/view.ts";
import type { Archive } from "../store/archive/archive.ts";
import type { Manifests } from "../store/archive/manifests.ts";
import type { DuckPool } from "../store/duckdb/duck.ts";
import type { DataDirectory } from "../store/files/files.ts";
import type { LogSource } from "../store/kafka/read/log.ts";
import type { Schemas } from "../store/registry/registry-schemas.ts";

/** What the batch layer reads and writes. */
export interface BatchStores {
  readonly data: DataDirectory;
  readonly archive: Archive;
  readonly manifests: Manifests;
  readonly log: LogSource;
  readonly pool: DuckPool;
  readonly schemas: Schemas;
  /** For how long at least readers have a version after it was replaced; absent: 15 seconds. */
  readonly readersMs?: number;
}

/** A stream with the topic that holds it in this installation. */
export interface StreamTarget {
  readonly stream: Stream;
  readonly topic: string;
}

/** A view with the generation and the topic that it is built from. */
export interface ViewTarget extends StreamTarget {
  readonly view: View;
  readonly generation: Generation;
}

/** How far a step is, for the caller that watches it. */
export type Progress = Readonly<Record<string, string | number>>;

/** What a longer step is given: where to say how far it is, and when to give up. */
export interface Watch {
  readonly signal: AbortSignal;
  beat(progress: Progress): void;
}

/**
 * A step that nobody watches or interrupts. Each has a signal of its own: on a common one all that run at once would
 * have their listeners.
 */
export const UNWATCHED: Watch = {
  get signal() {
    return new AbortController().signal;
  },
  beat: () => {},
};
