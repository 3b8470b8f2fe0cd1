/**
 * The code of every error that Tideline raises on purpose. An error has a stable code, a sentence for people, and a
 * hint what to do next. The list is closed, so that a handler can be exhaustive and documentation can be complete.
 */
export type ErrorCode =
  // definitions: found at start-up, before anything runs
  | "DEFINITION_INVALID" // a view or stream file breaks a rule; names file and field
  | "SCHEMA_INCOMPATIBLE" // a new version of an event breaks the rule that its stream keeps; names field and rule
  // the log and the state built from it: the layer stops the view (invariant 10)
  | "TOPIC_MISSING" // the stream's topic does not exist
  | "TOPIC_RECREATED" // the topic's id differs from that of the topic from which our state was built
  | "LOG_TRUNCATED" // the log has another record at our mark, or ends before our position
  | "LOG_LOST" // the log starts after a position that is still needed
  | "LOG_UNREADABLE" // a partition has no leader, so it cannot be read now
  | "WRITE_REFUSED" // Kafka does not accept a record: it is too large, or not allowed
  | "CODEC_MISSING" // a batch of the log is compressed with an unknown codec
  | "BATCH_CORRUPT" // a batch of the log does not match its checksum, even when it is fetched again
  | "LEDGER_UNBALANCED" // two readings of the same span disagree, or a tile's ledger does not add up
  | "ARCHIVE_DAMAGED" // a published file is missing or does not match its checksum
  | "STATE_OVERFLOW" // a cell would leave 64 bits
  | "VIEW_TOO_LARGE" // a view has more cells than its limit
  | "REDIS_SHARED" // the live state under a view's keys belongs to another installation's topic
  | "REDIS_EVICTS" // Redis may evict live state
  | "LIVE_STATE_UNREADABLE" // Redis has a form of a view's live state that Tideline does not write
  | "APPLY_REFUSED" // Redis reported that a batch is malformed: an error of the program
  | "REPORT_TOO_LARGE" // the daily report exceeds its budget; names the parts to narrow
  | "RULE_FAILED" // a rule's SQL fails on an event that its contract accepts
  | "VIEW_FAILED" // a view's SQL fails on an event that its contract accepts
  | "COMPUTATION_FAILED" // the SQL of a view or rule fails for lack of memory or disk, or by an error of the program
  // stored state of another release
  | "DATA_NEWER" // a newer release has written the data directory
  | "GENERATION_FROZEN" // another release computed this generation otherwise: it is served, but not continued
  | "GENERATION_UNREADABLE" // this release cannot read the stored definition or state of a generation
  // requests
  | "BAD_REQUEST" // a parameter or the URL is wrong; names it and the allowed values
  | "TOO_LARGE" // the answer would be too large: ask for less
  | "VIEW_UNKNOWN"
  | "TABLE_UNKNOWN"
  | "KEY_UNKNOWN" // the table has no row with this key, at the position of the answer
  | "COLUMN_FAILED" // a joined table's column cannot be computed for a row: its definition has to accept every value
  | "STREAM_UNKNOWN"
  | "NOT_FOUND" // the HTTP API has no such address
  | "METHOD_NOT_ALLOWED"
  | "HOST_NOT_ALLOWED" // the Host header names neither this machine nor a host of TIDELINE_ALLOWED_HOSTS
  | "UNAUTHENTICATED" // an API key is needed, and the request has no active one
  | "FORBIDDEN" // the API key is not for this
  | "URI_TOO_LONG"
  | "TOO_MANY_REQUESTS" // the queues are full
  | "TOO_MANY_STREAMS" // the most live streams that a server allows are open
  | "NOT_REACHED" // the log has not been applied up to the position in `min`: ask again
  | "GENERATION_GONE" // `at` or `min` names a generation that is not served any more
  | "POSITION_GONE" // neither archive nor log has the position in `at`
  | "TOO_SLOW" // the request takes too long, or the server is overloaded
  | "INTERNAL" // an error of the server; its log has the details
  | "RULE_UNKNOWN"
  | "ALERT_UNKNOWN" // no alert has this id
  | "API_KEY_UNKNOWN" // no API key has this name or id
  | "API_KEY_EXISTS" // an active API key has this name
  | "SCHEDULE_UNKNOWN" // Temporal has no schedule with this name
  | "RUN_UNKNOWN" // no run with this name is under way
  | "TOPIC_UNREADABLE" // a topic has no records, or none from which a contract can be made
  | "LETTER_UNKNOWN" // no dead letter has this id
  | "POINT_UNKNOWN" // a backup folder has no such point
  | "BACKUP_DAMAGED" // a file of a backup is missing, or differs from the copied one
  | "DIRECTORY_IN_USE" // roles run on the data directory, or it was replaced while this role ran
  | "DIRECTORY_NOT_EMPTY" // the data directory exists already
  | "DISK_FULL" // there is no room for a file of a backup or a restore
  | "NOT_DELIVERED" // a delivery could not hand an alert over
  | "MAIL_REFUSED" // the mail server rejects a report for good
  | "NOT_READY" // nothing is published yet, or a server cannot be reached
  // the local stack and the command line
  | "CONFIG_INVALID"
  | "PORT_TAKEN"
  | "SERVER_MISSING"
  | "SERVER_NOT_READY"
  | "RUN_FAILED" // a workflow that a command waits for has failed, or was cancelled
  | "INPUT_MISSING"; // a file or package that a command reads does not exist

/** A wrong parameter, and its allowed values. */
export interface WrongParameter {
  readonly parameter: string;
  readonly problem: string;
  readonly allowed: string;
}

/** The details of an error for programs, in addition to its code. Each field is absent where it does not apply. */
export interface ErrorDetails {
  /** The parameters of the request that are wrong, or have to be changed. */
  readonly parameters?: readonly WrongParameter[];
  /** When to ask again. Null: unknown. Absent: the usual time for the code. */
  readonly retryAfterSeconds?: number | null;
  /** The position up to which the server looked for something: a token. */
  readonly asOf?: string;
  /** The HTTP methods that a path accepts, separated by commas. */
  readonly methods?: string;
  /** The keys that give access. */
  readonly realm?: string;
}

/**
 * An error with a stable code. `message` says what happened, and `hint` what to do about it. The hint is "" if the
 * message says that already. `details` are for programs.
 */
export class TidelineError extends Error {
  override readonly name: string = "TidelineError";
  readonly code: ErrorCode;
  readonly hint: string;
  // Private, so that logs do not contain them: they name the things that a client asked for.
  readonly #details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    hint: string,
    { cause, ...details }: { readonly cause?: unknown } & ErrorDetails = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
    this.#details = details;
  }

  get details(): ErrorDetails {
    return this.#details;
  }
}

/** Whether `error` is a TidelineError with one of `codes`, or with any code if none is given. */
export function isTidelineError(error: unknown, ...codes: ErrorCode[]): error is TidelineError {
  return error instanceof TidelineError && (codes.length === 0 || codes.includes(error.code));
}

/** Whether another attempt may succeed: the error has no code, or a server is away. */
export function mayPass(error: unknown): boolean {
  return !isTidelineError(error) || isTidelineError(error, "NOT_READY", "LOG_UNREADABLE");
}

/** Returns the hint for a server that does not answer. `setting` is the name of the setting with its address. */
export function startHint(server: string, setting: string): string {
  return (
    `Start ${server}, or correct ${setting} if that is not its address. ` +
    `Where ${setting} is not set, \`tideline up\` starts ${server}.`
  );
}

/** Returns a function for `catch` of a connection to Temporal, which throws NOT_READY. */
export function temporalUnreachable(address: string): (cause: unknown) => never {
  return (cause) => {
    const hint = startHint("Temporal", "TEMPORAL_ADDRESS");
    throw new TidelineError("NOT_READY", `Temporal does not answer at ${address}`, hint, { cause });
  };
}

/**
 * Returns message and hint as text: the message without a full stop at its end, then the hint as a sentence. Without a
 * hint, the message as it is.
 */
export function sentencesOf({ message, hint }: Pick<TidelineError, "message" | "hint">): string {
  if (hint === "") return message;
  return `${message.replace(/\.$/, "")}. ${hint.charAt(0).toUpperCase()}${hint.slice(1)}`;
}
