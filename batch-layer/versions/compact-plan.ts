import type { StateFile } from "../../core/log/documents.ts";

export interface CompactLimits {
  /** A version with more files than this is compacted. */
  readonly files: number;
  /** How many may be left, at most. */
  readonly left: number;
}

export const COMPACT_LIMITS: CompactLimits = { files: 24, left: 12 };

/**
 * Which files of a version to merge into one; none while there are few. The smallest go first, and a larger one goes
 * with them only when they weigh as much as it does together. So a row is rewritten once for every doubling of the file
 * that holds it, and cost does not grow with history (O'Neil et al., "The log-structured merge-tree", 1996, for the
 * idea).
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
