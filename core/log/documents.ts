import { z } from "zod";
import { type Cut, cutFromJson, cutToJson, type Position, position } from "./position.ts";

/**
 * The durable documents. Everything in Redis can be lost; these cannot. They are stored as JSON, in which positions are
 * decimal text: `parse` reads that, `z.encode` makes it. Archive entries and manifests may have fields that are not
 * known here: so a release can be put back after a later one has added an optional field.
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

/** The last record of a log below a position. A log with another record there lost its end and was written again. */
export const LogMark = z.object({
  /** Of the last record. */
  offset,
  /**
   * 16 hexadecimal digits of SHA-256 over the record's key and value; empty when there was no record below, and only
   * the epoch counts.
   */
  hash: z.string(),
  /** Of the last batch below the position, which may hold no record; -1 when unknown. */
  leaderEpoch: z.int(),
});
export type LogMark = z.infer<typeof LogMark>;

/** One archived span of one partition, created exclusively under its `from`. */
export const ArchiveEntry = z.object({
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
  /** Of the span's last record; absent in entries of earlier releases. */
  mark: LogMark.optional(),
  /**
   * The event times that the file holds, `[fromMs, toMs)`; null when it holds rejects alone. They tell who needs the
   * file when it cannot be read any more. Absent in entries of earlier releases.
   */
  times: z.object({ fromMs: z.int(), toMs: z.int() }).nullable().optional(),
});
export type ArchiveEntry = z.infer<typeof ArchiveEntry>;

/**
 * An entry that stands for whole successive entries, created exclusively under its span. They are deleted some time
 * after a sweep first found it.
 */
export const MergedEntry = ArchiveEntry.extend({ createdAtMs: z.int() });
export type MergedEntry = z.infer<typeof MergedEntry>;

export function isMerged(entry: Pick<ArchiveEntry, "from"> | MergedEntry): entry is MergedEntry {
  return "createdAtMs" in entry;
}

/**
 * That people took a log for the continuation of a partition's archive although it differs from it, created exclusively
 * under its number. The one with the highest number counts. What is archived stays; offsets of this log below `from`
 * are not read.
 */
export const LogContinuation = z.strictObject({
  number: z.int().min(1),
  topicId: z.string(),
  /** Where the archive ended. */
  from: offset,
  /** The first archived record that the log does not have. */
  differsAt: offset,
  /** The log's last record below `from`; null when it holds none any more. */
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
  /** Which keys of a table have a value in one of these columns, in a file of its own. Absent: there is none. */
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
 * A batch view version, created exclusively under its number. Version 0 (genesis) fixes where the log begins for this
 * generation.
 */
export const Manifest = z.object({
  generation: z.string(),
  version: z.int().min(0),
  /** The cut of the version before: what this one was built on. */
  base: storedCut,
  cut: storedCut,
  /** The state of `[start, cut)` is the merge of these. */
  files: z.array(StateFile),
  /** The ledger of `[start, cut)`. */
  ledger: LedgerDocument,
  topicId: z.string(),
  /** By partition, the last record below the cut; absent where it is not known. */
  marks: z.record(z.string().regex(/^\d+$/), LogMark).optional(),
  createdBy: z.string(),
  createdAtMs: z.int(),
});
export type Manifest = z.infer<typeof Manifest>;

/**
 * Which components the state of a generation is made of. A release that makes the same definition of other components
 * cannot read that state. Absent for generations of earlier releases, whose components were those of the first release
 * that writes it.
 */
export const StateComponents = z.object({
  components: z.array(z.object({ key: z.string(), form: z.string(), merge: z.string() })),
});
export type StateComponents = z.infer<typeof StateComponents>;

/** By which format a data directory is written: the highest of all releases that have written to it. */
export const DataFormat = z.object({ format: z.int().min(1) });

/** What a backfill builds on: a version and where its span begins and ends. Made when its first run begins. */
export const BackfillPin = z.strictObject({
  version: z.int().min(0),
  topicId: z.string(),
  start: storedCut,
  cut: storedCut,
});
export type BackfillPin = z.infer<typeof BackfillPin>;
export type BackfillPinJson = z.input<typeof BackfillPin>;

/** A day of a backfill that is done: the states of its buckets up to the pin's cut; no file when there are none. */
export const BackfilledDay = z.strictObject({ day: z.string(), version: z.int().min(0), file: StateFile.nullable() });
export type BackfilledDay = z.infer<typeof BackfilledDay>;

/** Of each day, whether a backfill found what the version before held; written before its own version is. */
export const BackfillVerdict = z.strictObject({
  compared: z.int().min(0),
  days: z.array(
    z.strictObject({
      day: z.string(),
      /** Merged state rows, as recomputed. */
      rows: z.int().min(0),
      /** Merged state rows, as the version held them. */
      before: z.int().min(0),
      identical: z.boolean(),
    }),
  ),
});
export type BackfillVerdict = z.infer<typeof BackfillVerdict>;

/**
 * Which generation of a view answers: created exclusively under its number, and the newest holds. `held` is set when
 * people chose it: it then stays until they choose again, or the definition becomes yet another one than `over`.
 */
export const ServingRecord = z.strictObject({
  view: z.string(),
  number: z.int().min(1),
  generation: z.string(),
  /** What answered before; null for the first. */
  previous: z.string().nullable(),
  held: z.strictObject({ over: z.string() }).nullable(),
  by: z.string(),
  atMs: z.int(),
});
export type ServingRecord = z.infer<typeof ServingRecord>;

/**
 * How many refreshes in a row found that the speed layer had counted the same span, `[the version's cut, to)`,
 * otherwise than the archive.
 */
export const Unbalanced = z.strictObject({ version: z.int().min(0), to: storedCut, failures: z.int().min(1) });
export type Unbalanced = z.infer<typeof Unbalanced>;

/**
 * That a generation's live state was dropped, because it differed from the archive in the span above, to be read again
 * from the log.
 */
export const LiveReset = z.strictObject({ version: z.int().min(0), to: storedCut, message: z.string(), atMs: z.int() });
export type LiveReset = z.infer<typeof LiveReset>;

/** A time: since when a generation is retired, or a view's file is missing. */
export const Since = z.strictObject({ atMs: z.int() });

/**
 * What an edition of a report holds for, fixed before anything is computed: from the same definitions and the same span
 * of the log come the same numbers, whenever they are computed.
 */
export const ReportPin = z.strictObject({
  fromMs: z.int(),
  toMs: z.int(),
  /** The generations of the views that the numbers come from. */
  views: z.record(z.string(), z.string()),
  streams: z.record(z.string(), z.strictObject({ topicId: z.string(), start: storedCut, cut: storedCut })),
  pinnedAtMs: z.int(),
});
export type ReportPin = z.infer<typeof ReportPin>;
export type ReportPinJson = z.input<typeof ReportPin>;

/** All that differs between two runs of an edition. */
export const ReportStamp = z.strictObject({ generatedAtMs: z.int(), generatedBy: z.string() });
export type ReportStamp = z.infer<typeof ReportStamp>;

/** That a mail server has taken an edition; written after it said so. */
export const ReportDelivery = z.strictObject({
  deliveredAtMs: z.int(),
  messageId: z.string(),
  accepted: z.int().min(0),
  refused: z.int().min(0),
});
export type ReportDelivery = z.infer<typeof ReportDelivery>;

const groups = z.int().min(0);

/** How two generations of a view differ at one cut. */
export const Comparison = z.strictObject({
  served: z.string(),
  next: z.string(),
  /** Both were taken at exactly this position. */
  cut: storedCut,
  /** Dimensions that both have: by these, and by bucket, they were compared. */
  by: z.array(z.string()),
  /** Groups (bucket and shared dimensions) that only one has, and that both have. */
  groups: z.strictObject({ servedOnly: groups, nextOnly: groups, both: groups }),
  /** Measures that both have, under one name and with state of one kind. */
  measures: z.array(
    z.strictObject({
      measure: z.string(),
      /** Groups in which the state is the same to the bit, and in which it is not. */
      equal: groups,
      different: groups,
      /** Sums over everything, of measures that are a sum or a count; decimal text. */
      totals: z.strictObject({ served: z.string(), next: z.string() }).nullable(),
    }),
  ),
  /** Measures and dimensions that only one has, or that are of different kinds. */
  notComparable: z.array(z.string()),
});
export type Comparison = z.infer<typeof Comparison>;
export type ComparisonJson = z.input<typeof Comparison>;
