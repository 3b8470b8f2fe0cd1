import type { ShownAlert, ShownGroup } from "../core/definition/shown-alert.ts";

/** The sender's address of mail, and the server that takes it. */
export interface MailSettings {
  /** The value of TIDELINE_SMTP_URL. "" for none. */
  readonly url: string;
  readonly from: string;
}

/** The content of one message. */
export type Sent = ShownAlert | ShownGroup;

/** Returns the id of a message, the same each time it is sent. An alert's opening and its end are two messages. */
export function messageId(sent: Sent): string {
  return "alerts" in sent || sent.clearedAt === null ? sent.id : `${sent.id}.cleared`;
}

/**
 * Hands alerts over. Throws `Refused` when a retry cannot help, and any other error when it may. Throws at once when
 * the signal is aborted.
 */
export interface Sender {
  (sent: Sent, signal: AbortSignal): Promise<void>;
  /** Closes the connections that it keeps open, if any. */
  readonly close?: () => Promise<void>;
}

export interface SenderOptions {
  readonly delivery: string;
  readonly mail: MailSettings;
  /** The brokers of topics that alerts go to. */
  readonly brokers: string;
  readonly nowMs: () => number;
}

/** An error that a retry cannot change. Its message names the receiver. */
export class Refused extends Error {
  override readonly name = "Refused";
}
