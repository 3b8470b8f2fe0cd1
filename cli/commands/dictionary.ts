import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
Streams with their fields: type, what the contract allows, example, what it is, versions, who writes and who reads them;
views with their dimensions and measures, and which fields each reads. All of it is in the definitions: no server is
needed. \`doc\` and \`example\` on fields, streams, views and measures may change at any time.

Examples:
  $ tideline dictionary                                   everything, as Markdown
  $ tideline dictionary order-completed
  $ tideline dictionary --format json | jq '.streams[].fields[] | select(.doc == null) | .field'
`;

/** Adds `tideline dictionary`. */
export function registerDictionary(program: Command): void {
  program
    .command("dictionary")
    .description("print what the streams, fields, views and measures are")
    .argument("[stream]", "only this stream, and its views")
    .addOption(new Option("--format <format>", "how to print it").choices(["md", "json"]).default("md"))
    .addHelpText("after", help)
    .action(async (stream: string | undefined, { format }: { format: "json" | "md" }) => {
      const { printDictionary } = await import("../dictionary/dictionary.ts");
      await printDictionary(loadConfig(process.env), stream, format);
    });
}
