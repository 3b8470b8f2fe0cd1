import { TidelineError } from "../../../core/errors.ts";
import { type GenericError, ProtocolError } from "../client/client.ts";

/** Returns Kafka's error if a retry cannot change it. Undefined for any other error. */
export function refusal(error: unknown): ProtocolError | undefined {
  const found = (error as Partial<GenericError>).findBy?.("canRetry", false);
  return found instanceof ProtocolError ? found : undefined;
}

/** Returns WRITE_REFUSED for records of `topics` that Kafka does not accept. Null when `cause` is not a refusal. */
export function writeRefused(topics: Iterable<string>, hint: string, cause: unknown): TidelineError | null {
  const refused = refusal(cause);
  if (refused === undefined) return null;
  const names = [...new Set(topics)].join(", ");
  const message = `Kafka refuses a record for ${names}: ${refused.serverErrorMessage ?? refused.message}`;
  return new TidelineError("WRITE_REFUSED", message, hint, { cause });
}
