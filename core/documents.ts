import { z } from "zod";

/** The durable documents, as JSON. Positions are decimal text. Everything in Redis can be lost; these cannot. */

const offset = z.string().regex(/^\d{1,19}$/);
const cut = z.record(z.string().regex(/^\d+$/), offset);

/** One archived span of one partition, created exclusively under its `from`. */
export const ArchiveEntry = z.strictObject({
  from: offset,
  to: offset,
  /** Null when the span holds nothing but control records. Relative to the data directory. */
  file: z.string().nullable(),
  records: z.int().min(0),
  duplicates: z.int().min(0),
  rejects: z.int().min(0),
  control: z.int().min(0),
  /** SHA-256 of the file. */
  checksum: z.string().nullable(),
  sizeBytes: z.int().min(0),
  topicId: z.string(),
  leaderEpoch: z.int(),
  /** Revision of the stream's contract that decoded it. */
  contract: z.int(),
});
export type ArchiveEntry = z.infer<typeof ArchiveEntry>;

/** One Parquet file of state rows. */
export const StateFile = z.strictObject({
  file: z.string(),
  rows: z.int().min(0),
  sizeBytes: z.int().min(0),
  checksum: z.string(),
});
export type StateFile = z.infer<typeof StateFile>;

export const LedgerDocument = z.strictObject({
  records: z.int().min(0),
  duplicates: z.int().min(0),
  rejects: z.int().min(0),
  counted: z.int().min(0),
  filtered: z.int().min(0),
});

/** A batch view version, created exclusively under its number. Version 0 (genesis) fixes where the log begins for this generation. */
export const Manifest = z.strictObject({
  generation: z.string(),
  version: z.int().min(0),
  /** The cut of the version before: what this one was built on. */
  base: cut,
  cut,
  /** The state of `[start, cut)` is the merge of these. */
  files: z.array(StateFile),
  /** The ledger of `[start, cut)`. */
  ledger: LedgerDocument,
  topicId: z.string(),
  createdBy: z.string(),
  createdAtMs: z.int(),
});
export type Manifest = z.infer<typeof Manifest>;
