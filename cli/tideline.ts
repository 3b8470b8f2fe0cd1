import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { isTidelineError } from "../core/errors.ts";
import { type Program, setProgram } from "../store/files/program.ts";
import { registerAlerts } from "./commands/alerts.ts";
import { registerBackfill } from "./commands/backfill.ts";
import { registerBackup } from "./commands/backup.ts";
import { registerCheck } from "./commands/check.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerConfig } from "./commands/config.ts";
import { registerDeadLetters } from "./commands/dead-letters.ts";
import { registerDeliveries } from "./commands/deliveries.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerDictionary } from "./commands/dictionary.ts";
import { registerDiscover } from "./commands/discover.ts";
import { registerDoctor } from "./commands/doctor.ts";
import { registerHistory } from "./commands/history.ts";
import { registerInit } from "./commands/init.ts";
import { registerKeys } from "./commands/keys.ts";
import { registerProof } from "./commands/proof.ts";
import { registerQuery } from "./commands/query.ts";
import { registerRebuild } from "./commands/rebuild.ts";
import { registerReport } from "./commands/report.ts";
import { registerRestore } from "./commands/restore.ts";
import { registerRules } from "./commands/rules.ts";
import { registerRuns } from "./commands/runs.ts";
import { registerSchedules } from "./commands/schedules.ts";
import { registerSend } from "./commands/send.ts";
import { registerServe } from "./commands/serve.ts";
import { registerSettle } from "./commands/settle.ts";
import { registerSimulators } from "./commands/simulate.ts";
import { registerSpeed } from "./commands/speed.ts";
import { registerStatus } from "./commands/status.ts";
import { registerStreams } from "./commands/streams.ts";
import { registerTable } from "./commands/table.ts";
import { registerTail } from "./commands/tail.ts";
import { registerUp } from "./commands/up.ts";
import { registerViews } from "./commands/views.ts";
import { registerWatch } from "./commands/watch.ts";
import { registerWorker } from "./commands/worker.ts";
import { bundleProgram } from "./setup/bundle-program.ts";
import { loadConfig, maskOfSettings, settings, systemFolder } from "./setup/config.ts";
import { createTopics } from "./setup/create-topics.ts";
import { loadSystem, type System } from "./setup/system.ts";
import { ExitWith } from "./terminal/exit-with.ts";
import { printableLines } from "./terminal/printable.ts";

/**
 * The `tideline` command. Exit codes: 0 done, 1 failed, 2 error of usage, 130 interrupted. A command is a file in
 * commands/ and a line in this list. The file loads heavy modules only in its action.
 */
const commands: readonly ((program: Command) => void)[] = [
  registerInit,
  registerDiscover,
  registerSend,
  registerQuery,
  registerTable,
  registerHistory,
  registerProof,
  registerWatch,
  registerTail,
  registerStatus,
  registerDoctor,
  registerStreams,
  registerViews,
  registerRules,
  registerAlerts,
  registerDeliveries,
  registerCheck,
  registerDictionary,
  registerSchedules,
  registerRuns,
  registerDeadLetters,
  registerConfig,
  registerKeys,
  registerSettle,
  registerRebuild,
  registerBackfill,
  registerReport,
  registerDemo,
  registerBackup,
  registerRestore,
  registerSpeed,
  registerWorker,
  registerServe,
];

function examplesText({ examples = [] }: System): string {
  const lines = ["tideline up                          start everything on this machine", ...examples];
  return `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}

function settingsText(): string {
  const lines = Object.values(settings).map(
    ({ variable, description, byDefault }) => `  ${variable.padEnd(31)} ${description} (default: ${byDefault})`,
  );
  return `Settings (environment variables):\n${lines.join("\n")}\n`;
}

/**
 * Returns all commands, not run yet, with those of the system that the environment names. Throws CONFIG_INVALID for a
 * system that cannot be loaded.
 */
export async function createProgram(): Promise<Command> {
  const packageFile = new URL("../package.json", import.meta.url);
  const { version, description } = JSON.parse(readFileSync(packageFile, "utf8")) as {
    version: string;
    description: string;
  };
  const system = await loadSystem(systemFolder(process.env));
  const program = new Command("tideline");
  program
    .description(description)
    .version(version)
    .addHelpText("after", examplesText(system))
    .addHelpText("after", settingsText);
  // This comes before the commands are added, because they inherit these settings.
  program.exitOverride().showHelpAfterError("(add --help to see what is possible)");
  registerUp(program, system, [createTopics, bundleProgram]);
  for (const register of commands) register(program);
  registerSimulators(program, system.simulators ?? []);
  system.commands?.(program);
  program.hook("preAction", (_, command) => requireReadableHome(command));
  await registerCompletion(program);
  return program;
}

/** Commands that read nothing in TIDELINE_HOME, or replace its contents. */
const WITHOUT_HOME: ReadonlySet<string> = new Set([
  "config",
  "completion",
  "demo",
  "dictionary",
  "query",
  "table",
  "history",
  "replay-state",
  "watch",
  "proof",
  "restore",
]);

/** Throws DATA_NEWER before the command does anything, if a newer release has written the data that it would read. */
async function requireReadableHome(command: Command): Promise<void> {
  if (WITHOUT_HOME.has(command.name())) return;
  const { DataDirectory } = await import("../store/files/files.ts");
  const { requireDataFormat } = await import("../store/files/data-format.ts");
  const { home = loadConfig(process.env).home } = command.opts<{ home?: string }>();
  await requireDataFormat(new DataDirectory(join(home, "data")));
}

/** Prints an error on stderr, without the secrets of the settings. Returns the exit code. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has said it already
  const mask = maskOfSettings(process.env);
  if (isTidelineError(error)) {
    process.stderr.write(printableLines(mask(`error ${error.code}: ${error.message}\nwhat to do: ${error.hint}\n`)));
    return 1;
  }
  process.stderr.write(
    printableLines(mask(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)),
  );
  return 1;
}

/**
 * Ends this process when its reader has gone, such as `| head`. If a command waits for a signal, acts like that signal,
 * else ends at once.
 */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  if (!process.emit("SIGTERM")) process.exit();
}

/** Runs the command that this process was called with, and sets its exit code. */
export async function run(program: Program): Promise<void> {
  setProgram(program);
  process.stdout.on("error", endWithReader);
  process.stderr.on("error", endWithReader);
  try {
    await (await createProgram()).parseAsync();
  } catch (error) {
    const isOwn = error instanceof ExitWith;
    const exitCode = explain(isOwn ? error.cause : error);
    process.exitCode = isOwn ? error.exitCode : exitCode;
  }
}
