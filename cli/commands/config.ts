import { type Command, Option } from "commander";
import { loadConfig, type settings } from "../setup/config.ts";

const help = `
All settings are environment variables. \`tideline up\` also takes --home and the ports as flags, and passes them on to
the processes that it starts.

Examples:
  $ tideline config                         every setting: value, origin, meaning
  $ tideline config --json
  $ TIDELINE_HOME=/srv/tideline tideline config
`;

interface ShownSetting {
  readonly setting: keyof typeof settings;
  readonly variable: string;
  /** Null if the setting has no value. Secrets are masked. */
  readonly value: string | null;
  readonly origin: "default" | "environment";
  readonly default: string;
  readonly description: string;
}

/** Adds `tideline config`. */
export function registerConfig(program: Command): void {
  program
    .command("config")
    .description("show every setting, its value and where that comes from")
    .addOption(new Option("--json", "as JSON").default(false))
    .addOption(
      new Option("--markdown", "the table of the documents: variables, defaults and meanings").conflicts("json"),
    )
    .addHelpText("after", help)
    .action(async ({ json, markdown = false }: { json: boolean; markdown?: boolean }) => {
      const shown = await effectiveSettings();
      if (markdown) return void process.stdout.write(markdownTable(shown));
      const { print } = await import("../terminal/sheet.ts");
      const sheet = {
        head: ["variable", "value", "from", "meaning"],
        right: [],
        rows: shown.map(({ variable, value, origin, description }) => [variable, value ?? "-", origin, description]),
      };
      await print(json, shown, sheet, "");
    });
}

async function effectiveSettings(): Promise<ShownSetting[]> {
  const { settings, shownSetting } = await import("../setup/config.ts");
  const config = loadConfig(process.env);
  return (Object.keys(settings) as (keyof typeof settings)[]).map((setting) => {
    const { variable, description, byDefault } = settings[setting];
    const isSet = (process.env[variable] ?? "") !== "";
    return {
      setting,
      variable,
      value: shownSetting(setting, config[setting]),
      origin: isSet ? "environment" : "default",
      default: byDefault,
      description,
    };
  });
}

function markdownTable(shown: readonly ShownSetting[]): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const rows = shown.map((one) => `| \`${one.variable}\` | ${cell(one.default)} | ${cell(one.description)} |`);
  return `${["| variable | default | meaning |", "| --- | --- | --- |", ...rows].join("\n")}\n`;
}
