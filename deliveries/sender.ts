import type { ShownAlert, ShownGroup } from "../core/definition/shown-alert.ts";

/** Whom mail comes from, and the server that takes it. */
export interface MailSettings {
  /** TIDELINE_SMTP_URL; "" for none. */
  readonly url: string;
  readonly from: string;
}

/** What is handed over in one message. */
export type Sent = ShownAlert | ShownGroup;

/** Names a message: the same whenever it is sent. That an alert was opened and that it is over are two messages. */
export function messageId(sent: Sent): string {
  return "alerts" in sent || sent.clearedAt === null ? sent.id : `${sent.id}.cleared`;
}

/**
 * Hands alerts over. Throws `Refused` when trying again cannot help, and any other error when it may; at once when the
 * signal is aborted.
 */
export interface Sender {
  (sent: Sent, signal: AbortSignal): Promise<void>;
  /** Closes its connections, where it keeps some. */
  readonly close?: () => Promise<void>;
}

export interface SenderOptions {
  readonly delivery: string;
  readonly mail: MailSettings;
  /** Of topics. */
  readonly brokers: string;
  readonly nowMs: () => number;
}

/** What was refused for good: the message says by whom. */
export class Refused extends Error {
  override readonly name = "Refused";
}
