import { type Command, InvalidArgumentError, Option } from "commander";
import { parseTime } from "../../../core/time.ts";
import type { PatientsFlags } from "./simulate-patients.ts";

const help = `
Every patient has a heart rate of his own. Now and then it is too high or too low for a while. The same seed makes the same readings; in a file the same bytes.

Examples:
  $ tideline simulate patients                                    fifty readings a second until Ctrl+C
  $ tideline simulate patients --malformed 1% --late 2% --duplicates 1%
  $ tideline simulate patients --mode file --outfile hr.json --count 100 --seed 7
`;

/** Adds `tideline simulate patients`. */
export function registerSimulate(program: Command): void {
  const share = (flag: string, description: string) =>
    new Option(`${flag} <percent>`, description).default(0, "0%").argParser(percent);
  program
    .command("simulate")
    .description("make up events and send them")
    .addHelpText("after", "\nExample:\n  $ tideline simulate patients\n")
    .command("patients")
    .description("heart rates of patients")
    .addOption(new Option("--patients <n>", "how many patients").default(50).argParser(wholeNumber))
    .addOption(new Option("--rate <n>", "readings a second, of all patients").default(50).argParser(positiveNumber))
    .addOption(new Option("--count <n>", "end after so many readings (default: until Ctrl+C)").argParser(wholeNumber))
    .addOption(new Option("--seed <n>", "which patients (default: others each time)").argParser(wholeNumber))
    .addOption(
      new Option(
        "--from <time>",
        "when the first reading is measured (default: now; of a file 2026-01-01T00:00:00Z)",
      ).argParser(instant),
    )
    .addOption(share("--duplicates", "readings that are delivered twice"))
    .addOption(share("--late", "readings that arrive up to ten minutes late"))
    .addOption(share("--malformed", "readings with a record beside them that no contract accepts"))
    .addOption(
      new Option("--mode <where>", "send to Kafka, or write a file").choices(["kafka", "file"]).default("kafka"),
    )
    .addOption(new Option("--outfile <path>", "with --mode file: the file, one JSON event a line"))
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", help)
    .action(async (flags: PatientsFlags, command: Command) => {
      const { simulatePatients } = await import("./simulate-patients.ts");
      await simulatePatients(flags, command);
    });
}

/** "1%" is 0.01. */
function percent(text: string): number {
  const value = Number(text.slice(0, -1));
  if (/^\d+(\.\d+)?%$/.test(text) && value <= 100) return value / 100;
  throw new InvalidArgumentError("It must be a percentage such as 0.1% or 50%.");
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a number above 0.");
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("It must be a whole number from 0.");
}

function instant(text: string): number {
  const value = parseTime(text);
  if (value !== null) return value;
  throw new InvalidArgumentError("It must be a time such as 2026-01-31T12:00:00Z; UTC unless it names a zone.");
}
