import { extname, join } from "node:path";
import { createTransport } from "nodemailer";
import { TidelineError } from "../../core/errors.ts";
import type { ReportPin } from "../../core/log/documents.ts";
import { maskOf } from "../../core/secrets.ts";
import type { BatchStores } from "../stores.ts";
import { editionFolder, fileOfReport, newestWritten, noteDelivery, PAGE, readDelivery } from "./edition.ts";

/** The mail server and addresses of reports. Nothing is mailed while a field is empty. */
export interface MailSettings {
  /** TIDELINE_SMTP_URL, `smtp://user:password@host:port`. */
  readonly url: string;
  readonly from: string;
  /** Addresses, separated by commas. */
  readonly to: string;
}

export interface Delivered {
  readonly mailed: boolean;
  readonly edition: number | null;
  /** What happened, as a part of a sentence. */
  readonly how: string;
}

const TIMEOUT_MS = 30_000;

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".csv": "text/csv; charset=utf-8",
  ".json": "application/json",
};

/**
 * Mails the newest edition of a day, once. The note that it was mailed is written after the mail server has taken it.
 * So a process that is killed between the two, or two processes at the same time, mail twice. Both mails have the same
 * Message-ID, by which many mailboxes keep one.
 *
 * Throws NOT_READY when the server cannot be reached or asks to try again later, MAIL_REFUSED when it refuses the mail.
 */
export async function deliverEdition(
  stores: Pick<BatchStores, "data">,
  { namespace, date }: { readonly namespace: string; readonly date: string },
  mail: MailSettings,
  nowMs: () => number,
): Promise<Delivered> {
  const edition = await newestWritten(stores, date);
  if (edition === null) return { mailed: false, edition: null, how: "not mailed: the report is not written yet" };
  const { number } = edition;
  const held = await readDelivery(stores, date, number);
  if (held !== null)
    return { mailed: false, edition: number, how: `was mailed at ${new Date(held.deliveredAtMs).toISOString()}` };
  const missing = mail.url === "" ? "TIDELINE_SMTP_URL" : mail.to === "" ? "TIDELINE_REPORT_TO" : null;
  if (missing !== null) return { mailed: false, edition: number, how: `not mailed: ${missing} is not set` };
  const place = [namespace, "report", "daily", date, number].filter((part) => part !== "").join(".");
  const messageId = `<${place}@tideline>`;
  const message = await messageOf(stores, { date, number, pin: edition.pin, messageId }, mail);
  const { accepted, refused } = await send(date, message, mail);
  await noteDelivery(stores, date, number, { deliveredAtMs: nowMs(), messageId, accepted, refused });
  const but = refused === 0 ? "" : `; the mail server refused ${refused} more`;
  return { mailed: true, edition: number, how: `mailed to ${accepted} address${accepted === 1 ? "" : "es"}${but}` };
}

/** An edition of a day's report, and the Message-ID of its mail. */
interface MailedEdition {
  readonly date: string;
  readonly number: number;
  readonly pin: ReportPin;
  readonly messageId: string;
}

async function messageOf(
  { data }: Pick<BatchStores, "data">,
  { date, number, pin, messageId }: MailedEdition,
  { from, to }: MailSettings,
) {
  const folder = editionFolder(date, number);
  const html = await data.text(join(folder, PAGE));
  const names = [PAGE, ...(await data.list(folder)).filter(fileOfReport)];
  const attachments = await Promise.all(
    names.map(async (name) => ({
      filename: name.replace(".", `-${date}.`),
      content: await data.text(join(folder, name)),
      contentType: CONTENT_TYPES[extname(name)] ?? "text/plain; charset=utf-8",
    })),
  );
  const corrected = number === 1 ? "" : ` (edition ${number})`;
  const partial = pin.pinnedAtMs >= pin.toMs ? "" : " The day was not over when it was made.";
  return {
    from,
    to,
    messageId,
    subject: `Daily report ${date}${corrected}`,
    text: `The daily report for ${date} (UTC) is in the attached page; its numbers are attached as files.${partial}\n`,
    html,
    attachments,
  };
}

async function send(
  date: string,
  message: Awaited<ReturnType<typeof messageOf>>,
  { url }: MailSettings,
): Promise<{ readonly accepted: number; readonly refused: number }> {
  const transport = createTransport({
    url,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
  });
  try {
    const { accepted, rejected } = await transport.sendMail(message);
    return { accepted: accepted.length, refused: rejected.length };
  } catch (error) {
    throw named(date, error as MailError, maskOf([url])((error as MailError).message));
  } finally {
    transport.close();
  }
}

type MailError = Error & { readonly responseCode?: number; readonly code?: string };

/**
 * Returns the error for a failed mail. Codes from 500 on are permanent, and those from 400 on pass (RFC 5321, 4.2.1).
 * An error without a code is a wrong address or login. The cause is left out: Temporal stores causes, and they are not
 * masked.
 */
function named(date: string, { responseCode = 0, code }: MailError, message: string): TidelineError {
  const isWrong = responseCode === 0 && (code === "EAUTH" || code === "EENVELOPE");
  const forEver = responseCode >= 500 || isWrong;
  return forEver
    ? new TidelineError(
        "MAIL_REFUSED",
        `the mail server refuses the report: ${message}`,
        "Correct TIDELINE_SMTP_URL, TIDELINE_REPORT_FROM or TIDELINE_REPORT_TO, start the worker again, then run " +
          `\`tideline report --date ${date} --deliver\`.`,
      )
    : new TidelineError(
        "NOT_READY",
        `the mail server does not take the report: ${message}`,
        "It is tried again for a day.",
      );
}
