import { type Command, Option } from "commander";
import { type JoinedProof, type Proof, proofsIn } from "../../core/proof/proof-result.ts";
import { apiSilent, problemExitCode, problemText } from "../query/answer-text.ts";
import { askApi } from "../query/ask-api.ts";
import { addQueryFlags, type QueryFlags, withQuery } from "../query/view-query.ts";
import { type Config, loadConfig } from "../setup/config.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

const help = `
The API computes the same rows once more, from the raw log at the position of its answer, by plain SQL over all events,
and compares. Without --from and --to: everything. Of a joined table each of its tables is proven. Exit code 0: equal;
1: not equal, or it cannot be proven; 2: called wrongly.

Examples:
  $ tideline proof revenue
  $ tideline proof revenue --from 2026-01-01 --to 2026-02-01 --every 1d --by region
  $ tideline proof customers --rows 0              a table, without showing its rows
  $ tideline proof --all --sample 24               24 times of every view, chosen at random
  $ tideline proof revenue --deep --json | jq .differences
`;

/** If a proof reports nothing for this long, a line says that it continues. */
const SILENCE_MS = 10_000;

interface ProofFlags extends QueryFlags {
  readonly all: boolean;
  readonly deep: boolean;
  readonly json: boolean;
  readonly sample?: number;
  readonly rows: number;
  readonly at?: string;
}

/** Adds `tideline proof`. */
export function registerProof(program: Command): void {
  const command = program
    .command("proof")
    .description("recompute what a view answers from the raw log, and compare")
    .argument("[view]", "which view");
  addQueryFlags(command, ["order", "limit"])
    .addOption(new Option("--all", "every view, one after the other").default(false))
    .addOption(new Option("--sample <n>", "prove only n times, chosen at random").argParser(wholeNumberFrom(1)))
    .addOption(new Option("--at <asOf>", "the position of an earlier answer"))
    .addOption(new Option("--deep", "decode archived records again, however many there are").default(false))
    .addOption(
      new Option("--rows <n>", "show both values of the first n rows that differ")
        .argParser(wholeNumberFrom(1))
        .default(3),
    )
    .addOption(new Option("--json", "print the proof as JSON; with --all an array").default(false))
    .addHelpText("after", help)
    .action(async (view: string | undefined, flags: ProofFlags) => {
      if (flags.all === (view !== undefined)) command.error("error: name a view, or give --all", { exitCode: 2 });
      const config = loadConfig(process.env);
      const { interruptible } = await import("../terminal/progress.ts");
      await interruptible((stop) => proveAll(config, view, flags, stop));
    });
}

async function proveAll(config: Config, view: string | undefined, flags: ProofFlags, stop: AbortSignal): Promise<void> {
  const { joinedLine, proofLine, proofText } = await import("../query/proof-text.ts");
  const proofs: (Proof | JoinedProof)[] = [];
  const names = view === undefined ? await viewsOf(config) : [view];
  if (names === null) return;
  for (const [index, name] of names.entries()) {
    if (stop.aborted) break;
    if (names.length > 1) process.stderr.write(`proving ${name} (${index + 1} of ${names.length})\n`);
    const proof = await prove(proofUrl(config.apiUrl, name, flags), config, stop);
    if (proof === null) continue;
    proofs.push(proof);
    if (!proof.equal) process.exitCode = 1;
    if (flags.json) continue;
    for (const one of proofsIn(proof))
      process.stdout.write(view === undefined && one.equal ? proofLine(one) : await proofText(one));
    if ("tables" in proof) process.stdout.write(joinedLine(proof));
  }
  if (flags.json)
    process.stdout.write(`${JSON.stringify(view === undefined ? proofs : (proofs[0] ?? null), null, 1)}\n`);
}

function proofUrl(apiUrl: string, view: string, flags: ProofFlags): URL {
  const url = withQuery(new URL(`${apiUrl.replace(/\/$/, "")}/proof/${encodeURIComponent(view)}`), flags);
  const { sample, at, deep, rows } = flags;
  for (const [name, value] of Object.entries({ sample, at, rows }))
    if (value !== undefined) url.searchParams.set(name, String(value));
  if (deep) url.searchParams.set("deep", "true");
  return url;
}

/** Returns a proof. Returns null if the API does not give one; then the reason is printed and the exit code set. */
async function prove(url: URL, { apiKey }: Config, stop: AbortSignal): Promise<Proof | JoinedProof | null> {
  const { askProof } = await import("../../activities/ask-proof.ts");
  const { showProgress } = await import("../terminal/progress.ts");
  const line = showProgress("records");
  const beganMs = performance.now();
  let [heardMs, known] = [beganMs, 0];
  const onProgress = (done: number, total: number) => {
    if (total === 0) return;
    if (done !== known) [heardMs, known] = [performance.now(), done];
    line.update(done, total);
  };
  // After all records are read, the rows have to be computed, which takes long if there are many sessions.
  const silence = setInterval(() => {
    const nowMs = performance.now();
    const seconds = Math.round((nowMs - beganMs) / 1_000);
    if (nowMs - heardMs >= SILENCE_MS) process.stderr.write(`still at work, ${seconds} s\n`);
  }, SILENCE_MS);
  try {
    const reply = await askProof({ url, apiKey }, onProgress, stop);
    if ("proof" in reply) return reply.proof;
    const { status, problem } = reply.refused;
    process.stderr.write(problemText(status, problem));
    process.exitCode = problemExitCode(status);
    return null;
  } catch (error) {
    if (stop.aborted) return null;
    throw apiSilent(url, error);
  } finally {
    clearInterval(silence);
    line.stop();
  }
}

/** Returns null if the API refuses; then the reason is printed and the exit code set. */
async function viewsOf(config: Config): Promise<string[] | null> {
  const text = await askApi(new URL(`${config.apiUrl.replace(/\/$/, "")}/views`), config);
  if (text === null) return null;
  const { views } = JSON.parse(text) as { views: readonly { readonly name: string }[] };
  return views.map(({ name }) => name);
}
