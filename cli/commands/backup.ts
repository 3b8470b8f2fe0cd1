import { type Command, Option } from "commander";
import type { BackupFlags } from "../operations/backup.ts";
import { loadConfig } from "../setup/config.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

const help = `
Run it while everything runs, as a user who may write to the data directory: it keeps hard links there while it copies.
The first run copies everything, later ones what is new. Each adds a point that \`tideline restore\` can bring the data
directory back to. Do not keep the folder on the disk that it is the backup of.

It holds the data directory: archive, published versions, definitions, serving records, contracts, schemas, accepted
logs, reports. Not in it, and not needed: Redis (read again from Kafka), Temporal (schedules are made again), rebuilds
and backfills under way. Kafka must still hold what comes after the archive of the point that you restore.

Ctrl+C leaves no point; the next run continues with the files that were copied. Exit codes: 0 the point is there,
1 failed, 130 interrupted.

Examples:
  $ tideline backup /mnt/backup/tideline             add a point
  $ tideline backup /mnt/backup/tideline --keep 14   and delete all points but the newest 14
  $ tideline restore /mnt/backup/tideline --list     what points there are
`;

/** Adds `tideline backup`. */
export function registerBackup(program: Command): void {
  program
    .command("backup")
    .description("copy the data directory to a folder while the installation runs: a point to restore from")
    .argument("<folder>", "the folder of the backups; it is made when it is not there")
    .addOption(
      new Option("--keep <n>", "delete older points than the newest n, and files that only they name").argParser(
        wholeNumberFrom(1),
      ),
    )
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .addHelpText("after", help)
    .action(async (folder: string, flags: BackupFlags) => {
      const { runBackup } = await import("../operations/backup.ts");
      await runBackup(loadConfig(process.env), folder, flags);
    });
}
