import type { GroupValue } from "./cells.ts";

/**
 * A value for each group, in a tree with a level for each of the group's values. With a text for the whole group as the
 * key, each look-up would have to make the text, which takes seven times as long.
 */
export interface GroupTree<T> {
  next: Map<GroupValue, GroupTree<T>> | null;
  /** The value for the path to here. Null: none yet. */
  held: T | null;
}

/** Returns the next level for one value, and makes it if there is none. */
export function below<T>(level: GroupTree<T>, value: GroupValue): GroupTree<T> {
  level.next ??= new Map();
  const found = level.next.get(value);
  if (found !== undefined) return found;
  const made: GroupTree<T> = { next: null, held: null };
  level.next.set(value, made);
  return made;
}
