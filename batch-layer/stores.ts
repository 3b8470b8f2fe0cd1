import type { Stream } from "../core/contract/stream.ts";
import type { Generation } from "../core/definition/generation.ts";
import type { View } from "../core/definition/view.ts";
import type { Archive } from "../store/archive/archive.ts";
import type { Manifests } from "../store/archive/manifests.ts";
import type { DuckPool } from "../store/duckdb/duck.ts";
import type { DataDirectory } from "../store/files/files.ts";
import type { LogSource } from "../store/kafka/read/log.ts";
import type { Schemas } from "../store/registry/registry-schemas.ts";

/** The stores that the batch layer reads and writes. */
export interface BatchStores {
  readonly data: DataDirectory;
  readonly archive: Archive;
  readonly manifests: Manifests;
  readonly log: LogSource;
  readonly pool: DuckPool;
  readonly schemas: Schemas;
  /** How long at least readers may use a version after it was replaced; absent: 15 seconds. */
  readonly readersMs?: number;
}

/** A stream, and the topic that holds it in this installation. */
export interface StreamTarget {
  readonly stream: Stream;
  readonly topic: string;
}

/** A view, its generation, and the topic that it is built from. */
export interface ViewTarget extends StreamTarget {
  readonly view: View;
  readonly generation: Generation;
}

/** The progress of a step, for the caller that watches it. */
export type Progress = Readonly<Record<string, string | number>>;

/** Given to each longer step: a function to report progress, and a signal to stop. */
export interface Watch {
  readonly signal: AbortSignal;
  beat(progress: Progress): void;
}

/**
 * Returns the watch of a step that nobody watches or stops. Each has a signal of its own: a common signal would collect
 * the listeners of all running steps.
 */
export const UNWATCHED: Watch = {
  get signal() {
    return new AbortController().signal;
  },
  beat: () => {},
};
