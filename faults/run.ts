import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { wholeNumberFrom } from "../cli/terminal/flags.ts";
import { listenForInterrupts } from "../stack/process/interrupt.ts";
import { freePorts } from "../stack/servers/ports.ts";
import { createServers, startServers } from "../stack/servers/servers.ts";
import { runHarness, USUAL_LOAD } from "./harness.ts";
import { allCaught, mutantsText, runMutants } from "./mutant-round.ts";
import { mutants, mutantsNamed } from "./mutants/mutants.ts";
import { testBuild } from "./mutants/test-build.ts";
import { reportText } from "./report.ts";
import { scenarios } from "./scenarios/index.ts";

const minutes = (text: string) => {
  if (Number(text) > 0) return Number(text);
  throw new InvalidArgumentError("It must be a number of minutes above 0.");
};

/** How long each mutant may take to be caught. */
const MUTANT_MINUTES = 3;

const repository = fileURLToPath(new URL("..", import.meta.url));
const names = scenarios.map(({ name }) => name);
const program = new Command("faults")
  .description(
    "breaks a running Tideline in every way that a scenario knows, and checks every answer " +
      "against a plain fold of the log; exit code 1 when one is wrong, or something comes " +
      "back too late. Results go to .tideline/faults.json",
  )
  .addOption(new Option("--seed <n>", "repeats a run's plan").argParser(wholeNumberFrom(0)))
  .addOption(
    new Option("--minutes <n>", "runs all scenarios in turn for n minutes (default: each once)").argParser(minutes),
  )
  .addOption(new Option("--scenario <name...>", "only these").choices(names))
  .addOption(
    new Option("--mutant <name>", "puts this bug into a copy of the program, to see whether it is caught")
      .choices(mutants.map(({ name }) => name))
      .env("TIDELINE_MUTANT"),
  )
  .addOption(
    new Option(
      "--mutants [name...]",
      "tries one bug after the other (these, or all), and says how soon each is caught: " +
        "within 3 minutes, or --minutes. Results go to .tideline/mutants.json",
    ).choices(mutants.map(({ name }) => name)),
  )
  .option("--program <folder>", "runs the roles from another copy of the program")
  .option("--list", "lists the scenarios");

interface Flags {
  readonly seed?: number;
  readonly minutes?: number;
  readonly scenario?: readonly string[];
  readonly mutant?: string;
  readonly mutants?: true | readonly string[];
  readonly program?: string;
  readonly list?: boolean;
}

const flags = program.parse().opts<Flags>();
const say = (line: string) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

if (flags.list === true) {
  for (const { name, what } of scenarios) process.stdout.write(`${name.padEnd(26)} ${what}\n`);
} else {
  const interrupts = listenForInterrupts();
  try {
    process.exitCode = await run(flags, interrupts.stop);
  } finally {
    interrupts.close();
  }
}

async function run(
  {
    seed = Date.now() % 1_000_000,
    minutes: limit,
    scenario,
    mutant,
    mutants: several,
    program: copy = repository,
  }: Flags,
  signal: AbortSignal,
): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "tideline-faults-"));
  const serversHome = join(folder, "servers");
  const oracleHome = join(folder, "oracle");
  const chosenMutant = mutants.find(({ name }) => name === mutant);
  const servers = await startServers({
    home: serversHome,
    ports: await freePorts(),
    signal,
    report: (server, line) => say(`${server}: ${line}`),
  });
  const oracle = createServers({ home: oracleHome, ports: await freePorts() });
  try {
    await oracle.redis.start();
    const options = {
      seed,
      servers,
      serversHome,
      sketchesUrl: oracle.redis.url,
      folder,
      scenarios: scenarios.filter(({ name }) => scenario?.includes(name) ?? true),
      load: USUAL_LOAD,
      signal,
      say,
    };
    if (several !== undefined) {
      const chosen = several === true ? mutants : mutantsNamed(several);
      const outcomes = await runMutants(chosen, { ...options, durationMs: (limit ?? MUTANT_MINUTES) * 60_000 });
      process.stdout.write(mutantsText(outcomes));
      await mkdir(".tideline", { recursive: true });
      await writeFile(join(".tideline", "mutants.json"), `${JSON.stringify(outcomes, null, 2)}\n`);
      return signal.aborted ? 130 : allCaught(outcomes) ? 0 : 1;
    }
    const report = await runHarness({
      ...options,
      program: chosenMutant === undefined ? resolve(copy) : await testBuild([chosenMutant], join(folder, "program")),
      durationMs: (limit ?? 0) * 60_000,
      stopAtFirst: chosenMutant !== undefined,
    });
    process.stdout.write(reportText(report));
    await mkdir(".tideline", { recursive: true });
    await writeFile(join(".tideline", "faults.json"), `${JSON.stringify({ mutant, ...report }, null, 2)}\n`);
    if (report.ok) await rm(folder, { recursive: true, force: true });
    else say(`logs and state stay in ${folder}`);
    return signal.aborted ? 130 : report.ok ? 0 : 1;
  } finally {
    await oracle.stop();
    await servers.stop();
  }
}
