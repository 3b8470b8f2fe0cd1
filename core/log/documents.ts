import { z } from "zod";
import { type Cut, cutFromJson, cutToJson, type Position, position } from "./position.ts";

/**
 * The durable documents. Everything in Redis can be lost; these cannot. They are stored as JSON, in which positions are
 * decimal text: `parse` reads it, `z.encode` makes it. Archive entries and manifests may have unknown fields. So a
 * release can be put back after a later one has added an optional field.
 */

const offsetText = z.string().regex(/^\d{1,19}$/);
const offset = z.codec(
  offsetText,
  z.custom<Position>((value) => typeof value === "bigint" && value >= 0n),
  { decode: position, encode: String },
);
/** A cut as documents have it: offsets as text, by partition. */
export const storedCut = z.codec(
  z.record(z.string().regex(/^\d+$/), offsetText),
  z.custom<Cut>((value) => value instanceof Map),
  { decode: cutFromJson, encode: cutToJson },
);

/** The last record of a log below a position. If a log has another record there, its end was lost and written again. */
export const LogMark = z.object({
  /** The offset of the last record. */
  offset,
  /**
   * 16 hexadecimal digits of SHA-256 over the record's key and value. Empty if there was no record below; then only the
   * epoch counts.
   */
  hash: z.string(),
  /** The epoch of the last batch below the position, which may hold no record. -1 if unknown. */
  leaderEpoch: z.int(),
});
export type LogMark = z.infer<typeof LogMark>;

/** One archived span of one partition, created exclusively under its `from`. */
export const ArchiveEntry = z.object({
  from: offset,
  to: offset,
  /** The path of the file, relative to the data directory. Null when the span holds only control records. */
  file: z.string().nullable(),
  records: z.int().min(0),
  duplicates: z.int().min(0),
  rejects: z.int().min(0),
  control: z.int().min(0),
  /** The SHA-256 of the file. */
  checksum: z.string().nullable(),
  sizeBytes: z.int().min(0),
  topicId: z.string(),
  leaderEpoch: z.int(),
  /** The revision of the contract that decoded the span. */
  contract: z.int(),
  /** The mark of the span's last record. Absent in entries of earlier releases. */
  mark: LogMark.optional(),
  /**
   * The event times in the file, `[fromMs, toMs)`. Null if it holds only rejects. If the file cannot be read any more,
   * they tell which views need it. Absent in entries of earlier releases.
   */
  times: z.object({ fromMs: z.int(), toMs: z.int() }).nullable().optional(),
});
export type ArchiveEntry = z.infer<typeof ArchiveEntry>;

/**
 * An entry that replaces whole successive entries, created exclusively under its span. The replaced ones are deleted
 * some time after a sweep first found it.
 */
export const MergedEntry = ArchiveEntry.extend({ createdAtMs: z.int() });
export type MergedEntry = z.infer<typeof MergedEntry>;

export function isMerged(entry: Pick<ArchiveEntry, "from"> | MergedEntry): entry is MergedEntry {
  return "createdAtMs" in entry;
}

/**
 * The acceptance of a log that differs from a partition's archive as the archive's continuation. An operator accepts
 * it; the document is created exclusively under its number, and the highest number counts. The archived records stay;
 * offsets of this log below `from` are not read.
 */
export const LogContinuation = z.strictObject({
  number: z.int().min(1),
  topicId: z.string(),
  /** The end of the archive. */
  from: offset,
  /** The first archived record that the log does not have. */
  differsAt: offset,
  /** The log's last record below `from`. Null if the log has none any more. */
  mark: LogMark.nullable(),
  by: z.string(),
  atMs: z.int(),
});
export type LogContinuation = z.infer<typeof LogContinuation>;

/** One Parquet file of state rows. */
export const StateFile = z.object({
  file: z.string(),
  rows: z.int().min(0),
  sizeBytes: z.int().min(0),
  checksum: z.string(),
  /** The file with the index of a table's columns: which keys have a value in a column. Absent if there is none. */
  index: z
    .object({
      file: z.string(),
      columns: z.array(z.string()),
      rows: z.int().min(0),
      sizeBytes: z.int().min(0),
      checksum: z.string(),
    })
    .optional(),
});
export type StateFile = z.infer<typeof StateFile>;

export const LedgerDocument = z.object({
  records: z.int().min(0),
  duplicates: z.int().min(0),
  rejects: z.int().min(0),
  counted: z.int().min(0),
  filtered: z.int().min(0),
});

/**
 * A batch view version, created exclusively under its number. Version 0 (genesis) sets where the log begins for this
 * generation.
 */
export const Manifest = z.object({
  generation: z.string(),
  version: z.int().min(0),
  /** The cut of the version before, on which this one was built. */
  base: storedCut,
  cut: storedCut,
  /** The files whose merge is the state of `[start, cut)`. */
  files: z.array(StateFile),
  /** The ledger of `[start, cut)`. */
  ledger: LedgerDocument,
  topicId: z.string(),
  /** The last record below the cut, by partition. Absent where it is not known. */
  marks: z.record(z.string().regex(/^\d+$/), LogMark).optional(),
  createdBy: z.string(),
  createdAtMs: z.int(),
});
export type Manifest = z.infer<typeof Manifest>;

/**
 * The components of a generation's state. A release that makes other components from the same definition cannot read
 * that state. Absent for generations of earlier releases, which count as having the components of the first release
 * that writes this document.
 */
export const StateComponents = z.object({
  components: z.array(z.object({ key: z.string(), form: z.string(), merge: z.string() })),
});
export type StateComponents = z.infer<typeof StateComponents>;

/** The format of a data directory: the highest of all releases that have written to it. */
export const DataFormat = z.object({ format: z.int().min(1) });

/** The base of a backfill: a version, and the begin and end of its span. Made when the first run begins. */
export const BackfillPin = z.strictObject({
  version: z.int().min(0),
  topicId: z.string(),
  start: storedCut,
  cut: storedCut,
});
export type BackfillPin = z.infer<typeof BackfillPin>;
export type BackfillPinJson = z.input<typeof BackfillPin>;

/** A finished day of a backfill: the states of its buckets up to the pin's cut. No file if there are none. */
export const BackfilledDay = z.strictObject({ day: z.string(), version: z.int().min(0), file: StateFile.nullable() });
export type BackfilledDay = z.infer<typeof BackfilledDay>;

/**
 * For each day, whether the backfill found the same as the version before. Written before the backfill's own version.
 */
export const BackfillVerdict = z.strictObject({
  compared: z.int().min(0),
  days: z.array(
    z.strictObject({
      day: z.string(),
      /** Merged state rows, as recomputed. */
      rows: z.int().min(0),
      /** Merged state rows in the version before. */
      before: z.int().min(0),
      identical: z.boolean(),
    }),
  ),
});
export type BackfillVerdict = z.infer<typeof BackfillVerdict>;

/**
 * The served generation of a view. Created exclusively under its number, and the newest counts. `held` is set when an
 * operator chose the generation: it then stays until an operator chooses again, or the definition becomes another one
 * than `over`.
 */
export const ServingRecord = z.strictObject({
  view: z.string(),
  number: z.int().min(1),
  generation: z.string(),
  /** The generation served before. Null for the first. */
  previous: z.string().nullable(),
  held: z.strictObject({ over: z.string() }).nullable(),
  by: z.string(),
  atMs: z.int(),
});
export type ServingRecord = z.infer<typeof ServingRecord>;

/**
 * The number of refreshes in a row in which the speed layer's counts of the same span, `[the version's cut, to)`,
 * differed from the archive's.
 */
export const Unbalanced = z.strictObject({ version: z.int().min(0), to: storedCut, failures: z.int().min(1) });
export type Unbalanced = z.infer<typeof Unbalanced>;

/**
 * A note that a generation's live state was dropped, because it differed from the archive in the span above. It is then
 * read again from the log.
 */
export const LiveReset = z.strictObject({ version: z.int().min(0), to: storedCut, message: z.string(), atMs: z.int() });
export type LiveReset = z.infer<typeof LiveReset>;

/** The time since when a generation is retired, or a view's file is missing. */
export const Since = z.strictObject({ atMs: z.int() });

/**
 * The input of an edition of a report, fixed before anything is computed. The same definitions and the same span of the
 * log give the same numbers, whenever they are computed.
 */
export const ReportPin = z.strictObject({
  fromMs: z.int(),
  toMs: z.int(),
  /** The generations of the views from which the numbers come. */
  views: z.record(z.string(), z.string()),
  streams: z.record(z.string(), z.strictObject({ topicId: z.string(), start: storedCut, cut: storedCut })),
  pinnedAtMs: z.int(),
});
export type ReportPin = z.infer<typeof ReportPin>;
export type ReportPinJson = z.input<typeof ReportPin>;

/** The only values that differ between two runs of an edition. */
export const ReportStamp = z.strictObject({ generatedAtMs: z.int(), generatedBy: z.string() });
export type ReportStamp = z.infer<typeof ReportStamp>;

/** A note that a mail server has accepted an edition, written after its reply. */
export const ReportDelivery = z.strictObject({
  deliveredAtMs: z.int(),
  messageId: z.string(),
  accepted: z.int().min(0),
  refused: z.int().min(0),
});
export type ReportDelivery = z.infer<typeof ReportDelivery>;

const groups = z.int().min(0);

/** The differences between two generations of a view at one cut. */
export const Comparison = z.strictObject({
  served: z.string(),
  next: z.string(),
  /** The position at which both were taken. */
  cut: storedCut,
  /** The dimensions that both have. The two were compared by these and by bucket. */
  by: z.array(z.string()),
  /** The numbers of groups (bucket and shared dimensions) that only one has, and that both have. */
  groups: z.strictObject({ servedOnly: groups, nextOnly: groups, both: groups }),
  /** The measures that both have, with the same name and kind of state. */
  measures: z.array(
    z.strictObject({
      measure: z.string(),
      /** The numbers of groups in which the state is the same to the bit, and in which it is not. */
      equal: groups,
      different: groups,
      /** Sums over all groups, for measures that are a sum or a count; decimal text. */
      totals: z.strictObject({ served: z.string(), next: z.string() }).nullable(),
    }),
  ),
  /** Measures and dimensions that only one has, or that are of different kinds. */
  notComparable: z.array(z.string()),
});
export type Comparison = z.infer<typeof Comparison>;
export type ComparisonJson = z.input<typeof Comparison>;
