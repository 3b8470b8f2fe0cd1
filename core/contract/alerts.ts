import { instant, integer, oneOf, optional, text } from "./fields.ts";
import { stream } from "./stream.ts";

/** How urgent an alert is, the least urgent first. */
export const SEVERITIES = ["info", "warning", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The rule of Tideline's own alerts about problems of the installation. No rule of a system has this name. */
export const OWN_RULE = "tideline";

/** The longest texts of an alert, in UTF-16 units. Longer ones are cut off. */
export const ALERT_TEXT = { key: 500, says: 2_000, condition: 4_000, eventId: 1_000, author: 200 } as const;

/** An offset. A JSON number holds it exactly. */
const offset = integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
/** Any event time that a stream can have. */
const anyTime = instant({ min: "0001-01-01T00:00:00Z", max: "9999-12-31T23:59:59Z" });

/**
 * The events of alerts, as a stream like any other. Each record is one event of an alert:
 *
 *   opened        a rule's condition was true; `subject` is the alert's id
 *   acknowledged  somebody works on it; `subject` is the alert's id
 *   silenced      the alerts of a rule are shown as silenced until `silent_until`; `subject` is the rule's name
 *   cleared       the problem of one of Tideline's own alerts is over; `subject` is the alert's id
 *
 * The subject is the key, so all events of an alert are in one partition. An `opened` event has the alert's id as its
 * event id, so if the same alert is written twice, the second one is a duplicate.
 */
export const alerts = stream("alerts", {
  revision: 1,
  partitions: 3,
  key: "subject",
  eventId: "event_id",
  eventTime: "at",
  dedupWindow: 100_000,
  fields: {
    event_id: text({ max: 128 }),
    kind: oneOf("opened", "acknowledged", "silenced", "cleared"),
    subject: text({ max: 128 }),
    /**
     * Of an opened alert: the event time of the record that opened it. Of other events: the time when somebody did
     * this.
     */
    at: anyTime,
    rule: text({ max: 64 }),
    severity: optional(oneOf(...SEVERITIES)),
    /** The subject of the alert: the value of the rule's `key`. */
    key: optional(text({ max: ALERT_TEXT.key })),
    says: optional(text({ max: ALERT_TEXT.says })),
    /** The interval of event time in which this is the only alert of the key. */
    quiet_from: optional(anyTime),
    quiet_ms: optional(integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    /** The record that opened the alert, and the rule's condition. */
    source_stream: optional(text({ max: 100 })),
    source_partition: optional(offset),
    source_offset: optional(offset),
    source_event: optional(text({ max: ALERT_TEXT.eventId })),
    condition: optional(text({ max: ALERT_TEXT.condition })),
    silent_until: optional(anyTime),
    author: optional(text({ max: ALERT_TEXT.author })),
  },
});
