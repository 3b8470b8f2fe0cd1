import type { Client } from "@temporalio/client";
import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
Examples:
  $ tideline schedules                          all of them: when they run, and how the last run ended
  $ tideline schedules pause settle-order-completed --reason "while Kafka moves"
  $ tideline schedules resume settle-order-completed
  $ tideline schedules trigger compact-archive-order-completed
`;

/** Adds `tideline schedules`. */
export function registerSchedules(program: Command): void {
  const group = program
    .command("schedules")
    .description("the schedules in Temporal: list, pause, resume, trigger")
    .addHelpText("after", help);
  group
    .command("list", { isDefault: true })
    .description("show every schedule: interval or cron, next run, last runs")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline schedules list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listSchedules } = await import("../runs/schedules.ts");
      await listSchedules(loadConfig(process.env), json);
    });
  registerVerb(group, "pause", "pause it until it is resumed; a run under way continues", async (handle, reason) =>
    handle.pause(reason),
  );
  registerVerb(group, "resume", "let it run again", async (handle, reason) => handle.unpause(reason));
  registerVerb(group, "trigger", "run it now, also when it is paused", async (handle) => handle.trigger());
}

type Handle = ReturnType<Client["schedule"]["getHandle"]>;

function registerVerb(
  group: Command,
  verb: "pause" | "resume" | "trigger",
  description: string,
  act: (handle: Handle, reason: string) => Promise<void>,
): void {
  const done = { pause: "is paused", resume: "runs again", trigger: "was triggered" }[verb];
  const command = group
    .command(verb)
    .description(description)
    .argument("<schedule>", "its id, as `list` shows it")
    .addHelpText("after", `\nExample:\n  $ tideline schedules ${verb} settle-order-completed\n`)
    .action(async (schedule: string, { reason = "" }: { reason?: string }) => {
      const { withSchedule } = await import("../runs/schedules.ts");
      await withSchedule(loadConfig(process.env), schedule, (handle) => act(handle, reason));
      process.stdout.write(`${schedule} ${done}\n`);
    });
  if (verb !== "trigger") command.option("--reason <text>", "why, shown in Temporal", "by tideline schedules");
}
