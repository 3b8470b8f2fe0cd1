import { createHmac } from "node:crypto";
import { createTransport } from "nodemailer";
import type { ShownAlert } from "../core/alerts/alert-states.ts";
import type { Channel } from "../core/definition/delivery.ts";
import { separated } from "../core/secrets.ts";

/** Whom mail comes from, and the server that takes it. */
export interface MailSettings {
  /** TIDELINE_SMTP_URL; "" for none. */
  readonly url: string;
  readonly from: string;
}

/**
 * Hands an alert over. Throws `Refused` when trying again cannot help, and any other error when it may; at once when
 * the signal is aborted.
 */
export type Sender = (alert: ShownAlert, signal: AbortSignal) => Promise<void>;

/** What was refused for good: the message says by whom. */
export class Refused extends Error {
  override readonly name = "Refused";
}

export interface SenderOptions {
  readonly delivery: string;
  readonly mail: MailSettings;
  readonly nowMs: () => number;
}

const TIMEOUT_MS = 10_000;
/** Of the 4xx answers those that pass: the server is busy, or the request came at the wrong time. */
const PASSING = new Set([408, 425, 429]);

export function senderOf(channel: Channel, options: SenderOptions): Sender {
  switch (channel.type) {
    case "webhook":
      return (alert, signal) => post(channel.url, webhookRequest(alert, channel.secret, options), signal);
    case "slack":
      return (alert, signal) =>
        post(channel.url, { body: JSON.stringify({ text: lineOf(alert) }), headers: {} }, signal);
    case "mail":
      return (alert, signal) => sendMail(alert, channel.to, { ...options, signal });
  }
}

interface Request {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * A request as Standard Webhooks has it: its id is the same whenever the alert is sent, so that a receiver can tell a
 * repeat. The signature is the HMAC of id, time and body.
 */
function webhookRequest(alert: ShownAlert, secret: string | null, { delivery, nowMs }: SenderOptions): Request {
  const body = JSON.stringify({ type: "alert.opened", timestamp: alert.openedAt, data: alert });
  const id = `${delivery}.${alert.id}`;
  const seconds = String(Math.floor(nowMs() / 1_000));
  const headers = { "idempotency-key": id, "webhook-id": id, "webhook-timestamp": seconds };
  if (secret === null) return { body, headers };
  const signature = createHmac("sha256", secretBytes(secret)).update(`${id}.${seconds}.${body}`).digest("base64");
  return { body, headers: { ...headers, "webhook-signature": `v1,${signature}` } };
}

/** `whsec_` and base64, as Standard Webhooks writes secrets; any other text is taken as it is. */
function secretBytes(secret: string): Buffer {
  return secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret);
}

async function post(url: string, { body, headers }: Request, signal: AbortSignal): Promise<void> {
  const { url: address, headers: credentials } = separated(new URL(url));
  const response = await fetch(address, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", "user-agent": "tideline", ...headers, ...credentials },
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  await response.body?.cancel();
  if (response.ok) return;
  const answer = `answered ${response.status}`;
  if (response.status < 500 && !PASSING.has(response.status)) throw new Refused(answer);
  throw new Error(answer);
}

/** One line for people. */
function lineOf({ severity, rule, key, says, at, id }: ShownAlert): string {
  return `${(severity ?? "alert").toUpperCase()} ${rule}${key === null ? "" : ` ${key}`}: ${says ?? "its condition is met"} (${at}, ${id})`;
}

async function sendMail(
  alert: ShownAlert,
  to: string,
  { delivery, mail, signal }: SenderOptions & { readonly signal: AbortSignal },
): Promise<void> {
  if (mail.url === "") throw new Refused("TIDELINE_SMTP_URL is not set");
  const limits = { connectionTimeout: TIMEOUT_MS, greetingTimeout: TIMEOUT_MS, socketTimeout: TIMEOUT_MS };
  const transport = createTransport({ url: mail.url, ...limits });
  const end = () => transport.close();
  signal.addEventListener("abort", end, { once: true });
  const { severity, rule, key, says, at, id, source, condition } = alert;
  const subject = `[${severity ?? "alert"}] ${rule}${key === null ? "" : ` ${key}`}`;
  const lines = [
    says ?? lineOf(alert),
    "",
    `rule       ${rule}${condition === null ? "" : `: ${condition}`}`,
    `event      ${at}${source === null ? "" : `, ${source.stream} ${source.partition}:${source.offset}`}`,
    `alert      ${id}`,
    "",
    `tideline alerts explain ${id}`,
    `tideline alerts ack ${id}`,
  ];
  try {
    await transport.sendMail({
      ...{ from: mail.from, to, subject: oneLine(subject), text: `${lines.join("\n")}\n` },
      // The same whenever it is sent: mailboxes keep one.
      messageId: `<${delivery}.${id}@tideline>`,
    });
  } catch (error) {
    const { responseCode = 0, code } = error as Error & { readonly responseCode?: number; readonly code?: string };
    // Codes from 500 on are for ever (RFC 5321, 4.2.1); so is a wrong password. Not its own words: they may hold one.
    if (responseCode >= 500 || code === "EAUTH" || code === "EENVELOPE")
      throw new Refused(`the mail server refuses it (${responseCode === 0 ? code : responseCode})`);
    throw new Error(`the mail server does not take it (${code ?? responseCode})`);
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** A header has one line, whatever an event's text holds. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
