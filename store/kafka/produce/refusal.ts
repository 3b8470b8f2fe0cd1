import { TidelineError } from "../../../core/errors.ts";
import { type GenericError, ProtocolError } from "../client/client.ts";

/** Kafka's answer, when trying again cannot change it; undefined for any other error. */
export function refusal(error: unknown): ProtocolError | undefined {
  const found = (error as Partial<GenericError>).findBy?.("canRetry", false);
  return found instanceof ProtocolError ? found : undefined;
}

/** WRITE_REFUSED for records of `topics` that Kafka does not take; null when `cause` is not a refusal. */
export function writeRefused(topics: Iterable<string>, hint: string, cause: unknown): TidelineError | null {
  const refused = refusal(cause);
  if (refused === undefined) return null;
  const names = [...new Set(topics)].join(", ");
  const message = `Kafka refuses a record for ${names}: ${refused.serverErrorMessage ?? refused.message}`;
  return new TidelineError("WRITE_REFUSED", message, hint, { cause });
}
