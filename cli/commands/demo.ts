import { type Command, Option } from "commander";
import { parseRate } from "../terminal/parse-rate.ts";

const help = `
Beside a \`tideline up\` that runs here, or servers that the environment names, a demo has a namespace of its own.
Otherwise it starts servers of its own on free ports. Ctrl+C ends it and removes all that it has made.

Examples:
  $ tideline demo                  which systems there are
  $ tideline demo NAME             run one
  $ tideline demo NAME --rate 50
  $ tideline demo NAME --smtp smtp://127.0.0.1:1025
`;

/** Adds `tideline demo`. */
export function registerDemo(program: Command): void {
  program
    .command("demo")
    .description("run a system that ships with Tideline, beside everything else; without a name, list the systems")
    .argument("[name]", "a system")
    .addOption(new Option("--rate <n>", "how much is simulated, a second").default(5).argParser(parseRate))
    .option("--smtp <url>", "a server that takes the mail of the demo; without it nothing is mailed")
    .addHelpText("after", help)
    .action(async (name: string | undefined, flags: { rate: number; smtp?: string }) => {
      const { shippedSystem, shippedSystems } = await import("../demo/systems.ts");
      if (name === undefined) {
        const systems = await shippedSystems();
        const width = Math.max(...systems.map((one) => one.name.length));
        for (const one of systems)
          process.stdout.write(`${one.name.padEnd(width)}  ${one.system.description ?? ""}`.trimEnd().concat("\n"));
        return;
      }
      const system = await shippedSystem(name);
      const { runDemo } = await import("../demo/demo.ts");
      await runDemo(system, flags, process.env);
    });
}
