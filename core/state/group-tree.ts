import type { GroupValue } from "./cells.ts";

/**
 * Something held for each group, found by the group's values themselves, a level of the tree for each. A text that
 * stands for the whole group would have to be made for each look-up, which takes seven times as long.
 */
export interface GroupTree<T> {
  next: Map<GroupValue, GroupTree<T>> | null;
  /** What is held for the values on the way here; null: nothing yet. */
  held: T | null;
}

/** The level below for one value, made when there is none. */
export function below<T>(level: GroupTree<T>, value: GroupValue): GroupTree<T> {
  level.next ??= new Map();
  const found = level.next.get(value);
  if (found !== undefined) return found;
  const made: GroupTree<T> = { next: null, held: null };
  level.next.set(value, made);
  return made;
}
