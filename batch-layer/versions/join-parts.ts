import type { StateFile } from "../../core/log/documents.ts";
import { withDuck } from "../duck-run.ts";
import type { BatchStores, Watch } from "../stores.ts";
import { mergeStates, type ViewFiles } from "./compact.ts";
import { type StatePlace, withIndex } from "./state-index.ts";

/**
 * Returns the files of a version that was built in parts: their merge, or, if there is only one part, a link to its
 * file at `place`, which stays when the parts are deleted. Throws ARCHIVE_DAMAGED when a part is not what was written.
 */
export async function joinParts(
  stores: BatchStores,
  { view, files }: ViewFiles,
  place: StatePlace,
  watch: Watch,
): Promise<StateFile[]> {
  const [only] = files;
  if (only !== undefined && files.length === 1) {
    await stores.data.requireIntact([only]);
    const linked = { ...only, file: await stores.data.linked(only.file, place.folder, place.prefix) };
    return [await withDuck(stores, watch, (duck) => withIndex(stores, duck, { view, states: linked }, place))];
  }
  const merged = await withDuck(stores, watch, (duck) => mergeStates(stores, duck, { view, files }, place));
  return merged === null ? [] : [merged];
}
