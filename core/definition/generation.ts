import { createHash } from "node:crypto";
import { componentsOf } from "./components.ts";
import type { View } from "./view.ts";

/**
 * Raised by hand when the decoder or a measure changes what it computes; old and new state then never meet. Generations
 * of another revision are frozen: answered by this release's measures, so a component whose state means something else
 * needs another name.
 */
export const ENGINE_REVISION = 2;

/** `<view>.<12 hexadecimal digits>`: part of every key and path, so that no state mixes two definitions. */
export type Generation = string;

/** Hash of what the view computes, of its stream contract's revision and of the engine's. */
export function generationOf(view: View): Generation {
  const { stream } = view;
  const identity = {
    engine: ENGINE_REVISION,
    stream: [
      ...[stream.name, stream.revision, stream.eventId, stream.eventTime, stream.dedupWindow],
      // Another topic has other records. Absent, it must not change the hash of what earlier releases stored.
      ...(stream.topic === null ? [] : [stream.topic]),
      ...(stream.tombstones === null ? [] : [{ tombstones: stream.tombstones }]),
    ],
    where: view.where?.text ?? null,
    by: Object.entries(view.by).map(([name, { text }]) => [name, text]),
    each: view.each,
    grainMs: view.grainMs,
    // Absent, it must not change the hash of views.
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
