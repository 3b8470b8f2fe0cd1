import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";
import { printableLines } from "../terminal/printable.ts";

const help = `
Looks at versions, servers, topics, memory, disks, clocks, the archive, every view and every schedule. Exit code 1 when
there is a problem; warnings alone are 0.

Examples:
  $ tideline doctor                              what is wrong, and what to do
  $ tideline doctor --all                        also what is fine
  $ tideline doctor --json | jq '.findings[] | select(.level != "ok")'
`;

/** Adds `tideline doctor`. */
export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .description("examine the installation: what is wrong, what it means, what to do")
    .addOption(new Option("--all", "also show what is fine").default(false))
    .addOption(new Option("--json", "as JSON, everything").default(false))
    .addHelpText("after", help)
    .action(async ({ all, json }: { all: boolean; json: boolean }) => {
      const { examine } = await import("../doctor/doctor.ts");
      const findings = await examine(loadConfig(process.env));
      const count = (level: string) => findings.filter((finding) => finding.level === level).length;
      const healthy = count("problem") === 0;
      process.exitCode = healthy ? 0 : 1;
      if (json) return void process.stdout.write(`${JSON.stringify({ healthy, findings }, null, 1)}\n`);
      const marks = { ok: "ok      ", warning: "warning ", problem: "PROBLEM " };
      const shown = findings.filter(({ level }) => all || level !== "ok");
      const lines = shown.map(
        ({ level, message, todo }) => `${marks[level]}${message}${todo ? `\n        ${todo}` : ""}`,
      );
      const sum = `${count("ok")} fine, ${count("warning")} warnings, ${count("problem")} problems`;
      process.stdout.write(printableLines(`${[...lines, sum].join("\n")}\n`));
    });
}
