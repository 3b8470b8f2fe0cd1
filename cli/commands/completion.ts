import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
Examples:
  $ source <(tideline completion bash)        for this shell; in ~/.bashrc for every one
  $ tideline completion zsh > ~/.zfunc/_tideline
  $ tideline completion fish > ~/.config/fish/completions/tideline.fish
`;

/** Arguments whose values are names of views or streams, by command. */
const NAMES: readonly (readonly [command: string, argument: string, kind: "views" | "streams"])[] = [
  ["query", "view", "views"],
  ["watch", "view", "views"],
  ["rebuild", "view", "views"],
  ["backfill", "view", "views"],
  ["send", "stream", "streams"],
  ["streams quality", "stream", "streams"],
  ["dead-letters list", "stream", "streams"],
];

/**
 * Adds `tideline completion`, and what the shell asks then. After all other commands: it knows those that are there.
 */
export async function registerCompletion(program: Command): Promise<void> {
  const completed = tab(program, { completionCommandName: "completion" });
  const command = program.commands.find((one) => one.name() === "completion");
  command?.description("print what a shell needs to complete commands, flags, views and streams");
  command?.addHelpText("after", help);
  if (process.argv[2] !== "complete") return;
  const names = await definedNames();
  for (const [path, argument, kind] of NAMES) {
    const found = completed.commands.get(path)?.arguments.get(argument);
    if (found === undefined) continue;
    found.handler = (complete) => {
      for (const name of names[kind]) complete(name, "");
    };
  }
}

/** None when definitions are wrong: a shell is no place to say so. */
async function definedNames(): Promise<{ readonly views: readonly string[]; readonly streams: readonly string[] }> {
  try {
    const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
    const { views, streams } = await loadDefinitions(loadConfig(process.env));
    return { views: [...views.keys()], streams: [...streams.keys()] };
  } catch {
    return { views: [], streams: [] };
  }
}
