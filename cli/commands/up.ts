import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import type { UpStep } from "../../stack/bring-up.ts";
import { eachPort, type PortSpec, parsePort, portSpecs } from "../../stack/servers/ports.ts";
import { hasOwnDefinitions } from "../setup/config.ts";
import { type System, simulationOf } from "../setup/system.ts";
import { parseRate } from "../terminal/parse-rate.ts";

function portOf(text: string, spec: PortSpec): number {
  const port = parsePort(text, spec);
  if (typeof port !== "number") throw new InvalidArgumentError(`It must be ${port.wanted}.`);
  return port;
}

const flagsShape = z.looseObject({ home: z.string(), simulate: z.boolean().optional(), rate: z.number() });

/** Returns commander's name of a flag: `--kafka-controller-port` becomes `kafkaControllerPort`. */
const attribute = (flag: string) => new Option(`${flag} <n>`).attributeName();

/** Adds `tideline up`. `steps` run between the servers' start and the roles'. */
export function registerUp(program: Command, system: System, steps: readonly UpStep[]): void {
  const command = program
    .command("up")
    .addHelpText("after", "\nExamples:\n  $ tideline up\n  $ tideline up --no-simulate --home /srv/tideline\n")
    .description("start Kafka, Redis, Temporal and all of Tideline on this machine; Ctrl+C stops it")
    .addOption(new Option("--home <folder>", "where all state is kept").env("TIDELINE_HOME").default(".tideline"))
    .addOption(new Option("--simulate", "run the simulation of the system, also beside definitions of your own"))
    .addOption(new Option("--no-simulate", "start without the simulation of the system"))
    .addOption(new Option("--rate <n>", "how much is simulated, a second").default(5).argParser(parseRate));
  for (const spec of Object.values(portSpecs)) {
    const option = new Option(`${spec.flag} <n>`, `port of ${spec.owner}`).env(spec.variable);
    command.addOption(option.default(spec.default).argParser((text: string) => portOf(text, spec)));
  }
  command.action(async (values: unknown) => {
    const { home, simulate, rate, ...flags } = flagsShape.parse(values);
    const ports = eachPort((_, spec) => z.number().parse(flags[attribute(spec.flag)]));
    // Loaded only here: the servers' client libraries would slow down every other command.
    const { bringUp } = await import("../../stack/bring-up.ts");
    const ownDefinitions = hasOwnDefinitions(process.env);
    const simulation = simulationOf(system, simulate, ownDefinitions);
    await bringUp(
      {
        home: resolve(home),
        ports,
        env: {},
        simulation: simulation && { title: simulation.title, args: simulation.args(`${rate}`) },
        // If the user has definitions of his own, the views of the system may not exist.
        firstSteps: ownDefinitions ? undefined : system.firstSteps,
      },
      steps,
    );
  });
}
