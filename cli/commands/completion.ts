import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
Examples:
  $ source <(tideline completion bash)        for this shell; in ~/.bashrc for every one
  $ tideline completion zsh > ~/.zfunc/_tideline
  $ tideline completion fish > ~/.config/fish/completions/tideline.fish
`;

/** The kinds of names that an argument can be, by the argument's name. */
const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  view: ["views"],
  table: ["tables"],
  stream: ["streams"],
  "stream|topic": ["streams"],
  names: ["views", "streams"],
  rule: ["rules"],
  delivery: ["deliveries"],
};
type Kind = "views" | "tables" | "streams" | "rules" | "deliveries";
type Names = Readonly<Record<Kind, readonly string[]>>;

/** Adds `tideline completion`, and the command that the shell calls. Call this after all other commands are added. */
export async function registerCompletion(program: Command): Promise<void> {
  const completed = tab(program, { completionCommandName: "completion" });
  const command = program.commands.find((one) => one.name() === "completion");
  command?.description(
    "print what a shell needs to complete commands, flags, and names of views, tables, streams, rules and more",
  );
  command?.addHelpText("after", help);
  if (process.argv[2] !== "complete") return;
  const names = await definedNames();
  for (const { arguments: all } of completed.commands.values())
    for (const [argument, found] of all) {
      const kinds = KINDS[argument];
      if (kinds === undefined) continue;
      found.handler = (complete) => {
        for (const name of kinds.flatMap((kind) => names[kind])) complete(name, "");
      };
    }
}

/** Returns no names if definitions are wrong: a completion cannot report that. */
async function definedNames(): Promise<Names> {
  try {
    const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
    const { views, streams, rules, deliveries, joined } = await loadDefinitions(loadConfig(process.env));
    const tables = [...views.values()].filter(({ view }) => view.table !== null).map(({ view }) => view.name);
    return {
      views: [...views.keys()],
      tables: [...tables, ...(joined?.keys() ?? [])],
      streams: [...streams.keys()],
      rules: [...(rules?.keys() ?? [])],
      deliveries: [...(deliveries?.keys() ?? [])],
    };
  } catch {
    return { views: [], tables: [], streams: [], rules: [], deliveries: [] };
  }
}
