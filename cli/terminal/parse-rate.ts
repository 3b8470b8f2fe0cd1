import { InvalidArgumentError } from "commander";
import { z } from "zod";

/** Parses `--rate`. Throws InvalidArgumentError. */
export function parseRate(value: string): number {
  const rate = z.coerce.number().positive().safeParse(value);
  if (!rate.success) throw new InvalidArgumentError("It must be a number of events a second, above 0.");
  return rate.data;
}
