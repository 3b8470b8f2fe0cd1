import { type Command, Option } from "commander";
import type { RestoreFlags } from "../operations/backup.ts";
import { loadConfig } from "../setup/config.ts";

const help = `
Stop all roles first (\`speed\`, \`worker\`, \`serve\`), start them afterwards; Kafka, Redis and Temporal may run on.
Every file is compared with its hash before anything changes. A data directory that is there is put aside with
--replace and not deleted. Ctrl+C leaves it as it was; the same command continues with the files that were copied.

What Redis holds need not be deleted: live state that continues the restored cut is used, other live state is read
again from Kafka.

Examples:
  $ tideline restore /mnt/backup --list                    what points there are
  $ tideline restore /mnt/backup --check                   are all files of all points whole?
  $ tideline restore /mnt/backup                           the newest point, where there is no data directory
  $ tideline restore /mnt/backup --replace --at 2026-01-31T12:00:00Z
                                                           the newest point that is not after this time
  $ tideline restore /mnt/backup --file archive/orders/0/files/x.parquet
                                                           a damaged file, from the newest point that has it
`;

/** Adds `tideline restore`. */
export function registerRestore(program: Command): void {
  program
    .command("restore")
    .description("bring the data directory back to a point of a backup, while no role runs")
    .argument("<folder>", "the folder of the backups")
    .option("--at <point>", "a point's name, or a time: the newest point not after it (default: the newest)")
    .addOption(
      new Option("--file <path>", "put back this Parquet file alone; roles may run").conflicts([
        "replace",
        "check",
        "list",
      ]),
    )
    .addOption(new Option("--replace", "put a data directory that is there aside").default(false))
    .addOption(
      new Option("--check", "change nothing: compare all files with their hashes").default(false).conflicts("replace"),
    )
    .addOption(
      new Option("--list", "change nothing: show the points").default(false).conflicts(["replace", "check", "at"]),
    )
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .addHelpText("after", help)
    .action(async (folder: string, flags: RestoreFlags) => {
      const { checkBackup, listPoints, runRestore } = await import("../operations/backup.ts");
      const run = flags.list ? listPoints : flags.check ? checkBackup : runRestore;
      await run(loadConfig(process.env), folder, flags);
    });
}
