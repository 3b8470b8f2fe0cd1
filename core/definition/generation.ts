import { createHash } from "node:crypto";
import { componentsOf } from "./components.ts";
import type { View } from "./view.ts";

/**
 * Raised by hand when the decoder or a measure computes something else, so that old and new state never meet.
 * Generations of another revision are frozen, and this release's measures present their state. So a component whose
 * state changes its meaning needs another name.
 */
export const ENGINE_REVISION = 2;

/**
 * `<view>.<12 hexadecimal digits>`: part of every key and path, so that the state of two definitions is never mixed.
 */
export type Generation = string;

/** Returns the hash of the view's definition, of its contract's revision and of the engine's. */
export function generationOf(view: View): Generation {
  const { stream } = view;
  const identity = {
    engine: ENGINE_REVISION,
    stream: [
      ...[stream.name, stream.revision, stream.eventId, stream.eventTime, stream.dedupWindow],
      // Another topic has other records. Without a topic, the hash must stay the one that earlier releases stored.
      ...(stream.topic === null ? [] : [stream.topic]),
      ...(stream.tombstones === null ? [] : [{ tombstones: stream.tombstones }]),
    ],
    where: view.where?.text ?? null,
    by: Object.entries(view.by).map(([name, { text }]) => [name, text]),
    each: view.each,
    grainMs: view.grainMs,
    // Without a table, the hash of a view must stay the same.
    ...(view.table === null ? {} : { table: [view.table.kind, view.table.shards] }),
    components: componentsOf(view).map(({ key, form, merge, partial, item, given }) => [
      key,
      form,
      merge,
      partial,
      item?.sql ?? null,
      given ?? null,
    ]),
  };
  const digest = createHash("sha256").update(JSON.stringify(identity)).digest("hex");
  return `${view.name}.${digest.slice(0, 12)}`;
}
