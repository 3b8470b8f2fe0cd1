import { setTimeout as delay } from "node:timers/promises";
import type { Connection } from "@temporalio/client";
import { TidelineError } from "../../core/errors.ts";

/** temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD */
const KEYWORD = 2;
const LIMIT_MS = 30_000;

/** Returns those of these keyword search attributes that Temporal does not know. */
export async function missingSearchAttributes(
  { operatorService }: Connection,
  namespace: string,
  names: readonly string[],
): Promise<string[]> {
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  return names.filter((name) => customAttributes[name] !== KEYWORD);
}

/** Registers keyword search attributes that are missing, and waits until Temporal knows them. */
export async function registerSearchAttributes(
  connection: Connection,
  namespace: string,
  names: readonly string[],
): Promise<void> {
  const { operatorService } = connection;
  const missing = () => missingSearchAttributes(connection, namespace, names);
  const deadlineMs = performance.now() + LIMIT_MS;
  for (let left = await missing(); left.length > 0; left = await missing()) {
    if (performance.now() > deadlineMs)
      throw new TidelineError(
        "NOT_READY",
        `Temporal does not take the search attributes ${left.join(", ")}`,
        "Register them as Keyword in the namespace, or see whether its limit is reached.",
      );
    // Another worker may be doing the same. It is enough that the attributes exist in the end.
    await operatorService
      .addSearchAttributes({ namespace, searchAttributes: Object.fromEntries(left.map((name) => [name, KEYWORD])) })
      .catch(() => {});
    await delay(200);
  }
}
