import type { StateFile } from "../../core/log/documents.ts";

export interface CompactLimits {
  /** A version with more files than this is compacted. */
  readonly files: number;
  /** The most files that may be left. */
  readonly left: number;
}

export const COMPACT_LIMITS: CompactLimits = { files: 24, left: 12 };

/**
 * Returns the files of a version to merge into one; none while there are few. The smallest files are merged first. A
 * larger file is merged only if the smaller ones together have at least its size. So a row is rewritten once for every
 * doubling of its file, and the cost does not grow with history. (The idea: O'Neil et al., "The log-structured
 * merge-tree", 1996.)
 */
export function filesToCompact(files: readonly StateFile[], limits: CompactLimits = COMPACT_LIMITS): StateFile[] {
  if (files.length <= limits.files) return [];
  const ascending = files.toSorted((a, b) => a.sizeBytes - b.sizeBytes);
  const atLeast = files.length - limits.left + 1;
  const chosen: StateFile[] = [];
  let weight = 0;
  for (const file of ascending) {
    if (chosen.length >= atLeast && file.sizeBytes > weight) break;
    chosen.push(file);
    weight += file.sizeBytes;
  }
  return chosen;
}
