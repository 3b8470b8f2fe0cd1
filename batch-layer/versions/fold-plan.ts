import type { StateFile } from "../../core/log/documents.ts";

export interface FoldLimits {
  /** A version with more files than this is folded. */
  readonly files: number;
  /** How many may be left, at most. */
  readonly left: number;
}

export const FOLD_LIMITS: FoldLimits = { files: 24, left: 12 };

/**
 * Which files of a version to fold into one; none while there are few. The smallest go first, and a larger one goes
 * with them only when they weigh as much as it does together. So a row is rewritten once for every doubling of the file
 * that holds it, and cost does not grow with history (O'Neil et al., "The log-structured merge-tree", 1996, for the
 * idea).
 */
export function planFold(files: readonly StateFile[], limits: FoldLimits = FOLD_LIMITS): StateFile[] {
  if (files.length <= limits.files) return [];
  const ascending = files.toSorted((a, b) => a.sizeBytes - b.sizeBytes);
  const atLeast = files.length - limits.left + 1;
  const folded: StateFile[] = [];
  let weight = 0;
  for (const file of ascending) {
    if (folded.length >= atLeast && file.sizeBytes > weight) break;
    folded.push(file);
    weight += file.sizeBytes;
  }
  return folded;
}
