import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Generation } from "../../core/definition/generation.ts";
import { ArchiveEntry } from "../../core/log/documents.ts";
import { addLedgers } from "../../core/log/ledger.ts";
import { Archive } from "../../store/archive/archive.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { deadLetterTopic } from "../../store/kafka/cluster/topics.ts";
import { Chain } from "../../store/redis/chain.ts";
import { tilesOf } from "../../store/redis/chain-state.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { LogTail } from "../model/log-tail.ts";
import { ticks } from "../schemas/ticks.ts";
import type { Deployment } from "./deployment.ts";

const NOTHING = new Map<number, bigint>();

/**
 * Is every record accounted for? Compares the ledgers of batch versions with the segments behind them, those of the
 * archive, and the dead letters with what the oracle read. The installation must be at rest: source and refreshes
 * paused, everything applied. Returns what is wrong.
 */
export async function audit(deployment: Deployment, redisUrl: string): Promise<string[]> {
  const data = new DataDirectory(join(deployment.home, "data"));
  const problems = [
    ...(await viewProblems(deployment, data, redisUrl)),
    ...(await archiveProblems(deployment, data)),
    ...(await letterProblems(deployment)),
  ];
  return problems;
}

async function viewProblems(deployment: Deployment, data: DataDirectory, redisUrl: string) {
  const { oracle, namespace } = deployment;
  const problems: string[] = [];
  const redis = openRedis(redisUrl, () => undefined);
  try {
    for (const view of oracle.views) {
      const generation = deployment.latest(view)?.position.generation as Generation | undefined;
      const manifest = generation === undefined ? null : await new Manifests(data).newest(generation);
      if (generation === undefined || manifest === null) {
        problems.push(`${view}: never answered`);
        continue;
      }
      const { cut } = manifest;
      expectEqual(
        problems,
        `${view}: ledger of version ${manifest.version}`,
        manifest.ledger,
        oracle.ledger(view, NOTHING, cut),
      );
      const chain = new Chain(redis, namespace, generation);
      const state = await chain.load();
      const tiles = state === null ? null : tilesOf(cut, state);
      if (state === null || tiles?.ok !== true) {
        problems.push(`${view}: no chain from the newest cut`);
        continue;
      }
      let ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
      for (const { segment } of tiles.tiles)
        for (const part of (await chain.ledger(segment.id)).values()) ledger = addLedgers(ledger, part);
      expectEqual(problems, `${view}: ledger of the segments`, ledger, oracle.ledger(view, cut, state.applied));
    }
  } finally {
    redis.disconnect();
  }
  return problems;
}

async function archiveProblems(deployment: Deployment, data: DataDirectory): Promise<string[]> {
  const { oracle } = deployment;
  const problems: string[] = [];
  const name = deployment.topic(ticks.name);
  const [view = ""] = oracle.views;
  for (const partition of await new Archive(data).partitions(name)) {
    const folder = join("archive", name, String(partition), "entries");
    for (const document of await data.list(folder)) {
      const entry = await data.read(join(folder, document), ArchiveEntry);
      if (entry === null) continue; // merged and deleted in the meantime
      const { records, duplicates, rejects } = oracle.ledger(
        view,
        new Map([[partition, entry.from]]),
        new Map([[partition, entry.to]]),
      );
      const archived = { records: entry.records, duplicates: entry.duplicates, rejects: entry.rejects };
      expectEqual(problems, `archive ${partition} [${entry.from}, ${entry.to})`, archived, {
        records,
        duplicates,
        rejects,
      });
    }
  }
  return problems;
}

/**
 * Every record that does not decode has a dead letter with its bytes, and nothing else has one. A dead letter may be
 * there twice.
 */
async function letterProblems(deployment: Deployment): Promise<string[]> {
  const { oracle, brokers } = deployment;
  const problems: string[] = [];
  const name = deployment.topic(ticks.name);
  const letters = new Map<string, Buffer | null>();
  const tail = new LogTail(brokers, deadLetterTopic(name), ({ key, value }) => letters.set(String(key), value));
  try {
    await tail.caughtUp();
  } finally {
    await tail.close();
  }
  for (const [place, value] of oracle.rejects) {
    const letter = letters.get(`${name}:${place}`);
    if (letter === undefined) problems.push(`no dead letter for ${place}`);
    else if (!isDeepStrictEqual(letter, value)) problems.push(`the dead letter of ${place} has other bytes`);
  }
  for (const key of letters.keys())
    if (!oracle.rejects.has(key.slice(name.length + 1))) problems.push(`a dead letter for ${key}, which decodes`);
  return problems.length > 10 ? [...problems.slice(0, 10), `and ${problems.length - 10} more dead letters`] : problems;
}

function expectEqual(problems: string[], what: string, got: object, want: object): void {
  if (!isDeepStrictEqual({ ...got }, { ...want }))
    problems.push(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
}
