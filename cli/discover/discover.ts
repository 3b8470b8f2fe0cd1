import { join, relative } from "node:path";
import { isTidelineError } from "../../core/errors.ts";
import { type Discovery, discover, reasonText } from "../../discover/discover.ts";
import { percent } from "../../discover/fields/fields.ts";
import { streamName } from "../../discover/fields/names.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicNames, unreachable } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import type { Config } from "../setup/config.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";
import {
  checkFiles,
  type DefinitionFiles,
  definitionsAt,
  filesOf,
  requireFree,
  type Target,
  targetOf,
  write,
} from "./definition-files.ts";
import { noSuchTopic, readSample, type SampleFlags, schemasOf, type TopicRecords } from "./read-sample.ts";

export interface DiscoverFlags extends SampleFlags {
  readonly name?: string;
  readonly to?: string;
  readonly dryRun: boolean;
  readonly force: boolean;
}

/** Prints the names of all topics. */
export async function listTopics({ kafkaBrokers }: Config): Promise<void> {
  const names = await topicNames(kafkaBrokers);
  const list = names.map((name) => `  ${printable(name)}\n`).join("");
  process.stdout.write(names.length === 0 ? "Kafka has no topics yet\n" : `Name one of these topics:\n${list}`);
}

/** Reads a sample of a topic and writes a stream and a view for it, or prints them. */
export async function discoverTopic(config: Config, topic: string, flags: DiscoverFlags): Promise<void> {
  const target = targetOf(config, process.env, flags.to);
  const name = flags.name ?? streamName(topic);
  const before = await definitionsAt(target, config.namespace);
  if (!flags.dryRun) requireFree(before, config, topic, name);
  const read = await readTopic(config, topic, flags);
  if (read === null) return;
  for (const partition of read.leaderless)
    process.stderr.write(`warning: partition ${partition} has no leader, and was not read\n`);
  const registry = openRegistry(new DataDirectory(join(config.home, "data")), config.schemaRegistry);
  const schemas = await schemasOf(read.records, registry);
  // A stream that is replaced gets a new revision, so that everything it decoded is decoded again.
  const revision = (before.streams.get(name)?.revision ?? 0) + 1;
  const found = discover({ ...read, topic, name, schemas, revision });
  await checkFiles(found);
  const files = filesOf(found, target);
  if (flags.dryRun) {
    process.stderr.write(printableLines(summary(found, read)));
    process.stdout.write(files.texts.map(([path, text]) => `// ${shortPath(path)}\n${text}`).join("\n"));
    return;
  }
  await write(files.texts, flags.force);
  const written = files.texts.map(([path]) => `wrote ${shortPath(path)}\n`).join("");
  process.stdout.write(printableLines(summary(found, read) + written + nextSteps(config, target, files)));
}

/** Returns null after Ctrl+C. Throws NOT_READY when Kafka does not answer, TOPIC_MISSING if there is no such topic. */
async function readTopic({ kafkaBrokers }: Config, topic: string, flags: DiscoverFlags): Promise<TopicRecords | null> {
  const log = new LogReader({ brokers: kafkaBrokers, clientId: "tideline-discover" });
  const line = showProgress("records");
  const onProgress = (done: number, total: number) => line.update(done, total);
  try {
    return await interruptible(async (signal) => {
      const reading = readSample(log, topic, flags, { signal, onProgress });
      return reading.catch((error: unknown) => {
        if (signal.aborted) return null;
        throw error;
      });
    });
  } catch (error) {
    if (isTidelineError(error, "TOPIC_MISSING")) throw await noSuchTopic(kafkaBrokers, topic, error);
    throw isTidelineError(error) ? error : unreachable(kafkaBrokers, error);
  } finally {
    line.stop();
    await log.close();
  }
}

/** Returns a path relative to the current folder, if that is shorter. */
function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}

const MOST_REASONS = 10;

function summary({ stream, records, accepted, refused, notes }: Discovery, { taken }: TopicRecords): string {
  const fields = Object.keys(stream.fields).length;
  const reasons = refused.slice(0, MOST_REASONS).map((reason) => `  ${reasonText(reason, records)}`);
  const more = refused.length > MOST_REASONS ? [`  and ${refused.length - MOST_REASONS} more reasons`] : [];
  const lines = [
    `read ${taken}`,
    `the contract has ${fields} fields and accepts ${percent(accepted, records)} of the records`,
    ...[...reasons, ...more],
    ...notes.map((note) => `  ${note}`),
  ];
  return `${lines.join("\n")}\n`;
}

function nextSteps({ apiUrl }: Config, { system }: Target, { view, texts }: DefinitionFiles): string {
  const [first] = texts[0] ?? [""];
  const steps = [
    ...(system === null ? [] : [`export TIDELINE_SYSTEM=${system}`]),
    "npx tideline up                # or restart it",
    `npx tideline query ${view}     # or ${apiUrl}/#view=${view}`,
  ];
  const list = steps.map((step) => `  ${step}\n`).join("");
  return `\nLook at ${shortPath(first)}, change what you know better, then:\n${list}`;
}
