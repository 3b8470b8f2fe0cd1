import { createHmac } from "node:crypto";
import { createTransport } from "nodemailer";
import { OWN_RULE } from "../core/contract/alerts.ts";
import type { Channel } from "../core/definition/delivery.ts";
import type { ShownAlert, ShownGroup } from "../core/definition/shown-alert.ts";
import { separated } from "../core/secrets.ts";
import { callOwn } from "./own-sender.ts";
import { messageId, Refused, type Sender, type SenderOptions, type Sent } from "./sender.ts";
import { topicSender } from "./topic-sender.ts";

const TIMEOUT_MS = 10_000;
/** The most alerts in a message for people. The message says how many more there are. */
const MOST_LINES = 50;
/** The 4xx status codes after which a retry may help: the server is busy, or the request came at the wrong time. */
const PASSING = new Set([408, 425, 429]);

export function senderOf(channel: Channel, options: SenderOptions): Sender {
  switch (channel.type) {
    case "webhook":
      return (sent, signal) => post(channel.url, webhookRequest(sent, channel.secret, options), signal);
    case "slack":
      return (sent, signal) => post(channel.url, { body: JSON.stringify({ text: textOf(sent) }), headers: {} }, signal);
    case "mail":
      return (sent, signal) => sendMail(sent, channel.to, { ...options, signal });
    case "topic":
      return topicSender(channel.name, options, bodyOf);
    case "function":
      return async (sent, signal) => {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
        await callOwn(channel.send, alertsOf(sent), { id: `${options.delivery}.${messageId(sent)}`, signal: limit });
      };
  }
}

/** Returns the alerts of a message. Where only one can be shown, the first stands for all. */
function alertsOf(sent: Sent): readonly [ShownAlert, ...ShownAlert[]] {
  return "alerts" in sent ? sent.alerts : [sent];
}

/** Returns the JSON that webhooks and topics get. */
function bodyOf(sent: Sent): string {
  const [{ openedAt, clearedAt }] = alertsOf(sent);
  const type = "alerts" in sent ? "alerts.opened" : clearedAt === null ? "alert.opened" : "alert.cleared";
  return JSON.stringify({ type, timestamp: clearedAt ?? openedAt, data: sent });
}

interface Request {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Returns a request as Standard Webhooks defines it. Its id is the same each time the alert is sent, so that a receiver
 * recognises a repeat. The signature is the HMAC of id, time and body.
 */
function webhookRequest(sent: Sent, secret: string | null, { delivery, nowMs }: SenderOptions): Request {
  const body = bodyOf(sent);
  const id = `${delivery}.${messageId(sent)}`;
  const seconds = String(Math.floor(nowMs() / 1_000));
  const headers = { "idempotency-key": id, "webhook-id": id, "webhook-timestamp": seconds };
  if (secret === null) return { body, headers };
  const signature = createHmac("sha256", secretBytes(secret)).update(`${id}.${seconds}.${body}`).digest("base64");
  return { body, headers: { ...headers, "webhook-signature": `v1,${signature}` } };
}

/** Returns the bytes of a secret: `whsec_` and base64, as Standard Webhooks writes secrets, or else the text itself. */
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

/** Returns one line for people. */
function lineOf({ severity, rule, key, says, at, id, clearedAt }: ShownAlert): string {
  const word = clearedAt === null ? (severity ?? "alert") : "cleared";
  return (
    `${word.toUpperCase()} ${rule}${key === null ? "" : ` ${key}`}: ` +
    `${says ?? "its condition is met"} (${at}, ${id})`
  );
}

/** Returns a line for each alert, below a heading if there are several. */
function textOf(sent: Sent): string {
  const alerts = alertsOf(sent);
  if (!("alerts" in sent) || alerts.length === 1) return lineOf(alerts[0]);
  const rest = alerts.length - MOST_LINES;
  const lines = [headingOf(sent), ...alerts.slice(0, MOST_LINES).map(lineOf)];
  return [...lines, ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n");
}

function headingOf({ by, value, alerts }: ShownGroup): string {
  return `${alerts.length} alerts of ${by === "rule" ? "" : "severity "}${value ?? "none"}`;
}

/** Returns the subject and the text of a mail. */
function mailOf(sent: Sent): { readonly subject: string; readonly text: string } {
  const alerts = alertsOf(sent);
  if ("alerts" in sent && alerts.length > 1) {
    const [{ severity }] = alerts;
    return { subject: `[${severity ?? "alert"}] ${headingOf(sent)}`, text: `${textOf(sent)}\n` };
  }
  const [alert] = alerts;
  const { severity, rule, key, clearedAt } = alert;
  const word = clearedAt === null ? (severity ?? "alert") : "cleared";
  const subject = `[${word}] ${rule}${key === null ? "" : ` ${key}`}`;
  return { subject, text: `${mailLines(alert).join("\n")}\n` };
}

async function sendMail(
  sent: Sent,
  to: string,
  { delivery, mail, signal }: SenderOptions & { readonly signal: AbortSignal },
): Promise<void> {
  if (mail.url === "") throw new Refused("TIDELINE_SMTP_URL is not set");
  const limits = { connectionTimeout: TIMEOUT_MS, greetingTimeout: TIMEOUT_MS, socketTimeout: TIMEOUT_MS };
  const transport = createTransport({ url: mail.url, ...limits });
  const end = () => transport.close();
  signal.addEventListener("abort", end, { once: true });
  const { subject, text } = mailOf(sent);
  try {
    await transport.sendMail({
      ...{ from: mail.from, to, subject: oneLine(subject), text },
      // The id is the same each time, so that mailboxes keep one copy.
      messageId: `<${delivery}.${messageId(sent)}@tideline>`,
      ...(messageId(sent) === sent.id ? {} : { inReplyTo: `<${delivery}.${sent.id}@tideline>` }),
    });
  } catch (error) {
    const { responseCode = 0, code } = error as Error & { readonly responseCode?: number; readonly code?: string };
    // Codes from 500 on are final, and those from 400 on pass (RFC 5321, 4.2.1): servers that do not know a sender
    // refuse the first attempt (RFC 6647). An error without a code is an address or a login that cannot be right. The
    // server's own words are left out: they may contain a password.
    const isWrong = responseCode === 0 && (code === "EAUTH" || code === "EENVELOPE");
    if (responseCode >= 500 || isWrong)
      throw new Refused(`the mail server refuses it (${responseCode === 0 ? code : responseCode})`);
    throw new Error(`the mail server does not take it (${code ?? responseCode})`);
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** Returns the text of a mail. One of Tideline's own alerts has no record that could be explained. */
function mailLines(alert: ShownAlert): string[] {
  const { rule, says, at, id, source, condition, clearedAt } = alert;
  return [
    ...(clearedAt === null ? [] : [`Over since ${clearedAt}. It was:`, ""]),
    says ?? lineOf(alert),
    "",
    `rule       ${rule}${condition === null ? "" : `: ${condition}`}`,
    `${rule === OWN_RULE ? "since     " : "event     "} ${at}` +
      `${source === null ? "" : `, ${source.stream} ${source.partition}:${source.offset}`}`,
    `alert      ${id}`,
    ...(clearedAt === null ? [""] : []),
    ...(source === null ? [] : [`tideline alerts explain ${id}`]),
    ...(clearedAt === null ? [`tideline alerts ack ${id}`] : []),
  ];
}

/** Returns a text on one line, as a header needs it, whatever an event's text contains. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
