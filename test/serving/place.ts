import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { position } from "../../core/log/position.ts";
import { stateSql } from "../../core/state/compile.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import { type RunningServing, type ServingOptions, startServing } from "../../serving/main.ts";
import { statesByPartition } from "../../speed-layer/states/deltas.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { eventColumns } from "../../store/decode/events.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { type Duck, DuckPool } from "../../store/duckdb/duck.ts";
import { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import { cutAt, SALES, sales, takings, unborn } from "../fixtures/events/takings.ts";

/** A server, a namespace and a data directory of its own for one test. */
export class Place {
  readonly namespace = randomUUID();
  readonly generation = generationOf(takings);
  readonly chain: Chain;
  readonly manifests: Manifests;
  readonly data: DataDirectory;
  readonly redis: TidelineRedis;
  readonly duck: Duck;
  serving: RunningServing | null = null;

  constructor(redis: TidelineRedis, duck: Duck, folder: string) {
    this.redis = redis;
    this.duck = duck;
    this.data = new DataDirectory(join(folder, this.namespace));
    this.manifests = new Manifests(this.data);
    this.chain = new Chain(redis, this.namespace, this.generation);
  }

  async start(options: Partial<ServingOptions> = {}): Promise<this> {
    await this.data.attempt("views", "x", "json");
    const views = new Map(
      [takings, unborn].map((definition) => [
        definition.name,
        { view: definition, generation: generationOf(definition), file: "test" },
      ]),
    );
    const definitions: Definitions = { views, streams: new Map([[sales.name, sales]]) };
    const logger = pino({ level: "silent" });
    this.serving = await startServing({
      redisUrl: inject("redisUrl"),
      kafkaBrokers: inject("kafkaBrokers"),
      dataDir: this.data.root,
      namespace: this.namespace,
      definitions,
      port: 0,
      host: "127.0.0.1",
      logger,
      requestsPerMinute: 0,
      ...options,
    });
    return this;
  }

  /** Publishes the version whose last file holds `[from, to)`, after the files of the version before. */
  async publish(version: number, from: number, to: number, previous: readonly string[] = []): Promise<string[]> {
    const name = await this.data.attempt(this.manifests.stateFolder(this.generation), "delta", "parquet");
    await this.load(from, to);
    await this.duck.run(`COPY (${stateSql(takings, "events")}) TO '${this.data.path(name)}' (FORMAT parquet)`);
    const files = [...previous, name];
    await this.manifests.create({
      generation: this.generation,
      version,
      base: cutAt(from),
      cut: cutAt(to),
      files: await Promise.all(files.map(async (file) => ({ file, rows: 1, ...(await this.data.settle(file)) }))),
      ledger: EMPTY_LEDGER,
      topicId: "t",
      createdBy: "test",
      createdAtMs: Date.now(),
    });
    await this.chain.publish(version);
    return files;
  }

  /** Applies `[from, to)` to the open segment. */
  async apply(from: number, to: number): Promise<void> {
    await this.load(from, to);
    const deltas =
      (await statesByPartition(await KeptStatements.open(this.duck), takings, "events", "large")).get(0)?.deltas ?? [];
    const reply = await this.chain.apply({
      partition: 0,
      from: position(from),
      to: position(to),
      mark: null,
      ledger: EMPTY_LEDGER,
      deltas,
      maxCells: 1_000_000,
      freshAtMs: null,
    });
    expect(reply.kind).toBe("ok");
  }

  async load(from: number, to: number): Promise<void> {
    await this.duck.run(`CREATE OR REPLACE TABLE events (${eventColumns(sales)})`);
    const rows = SALES.slice(from, to).map(({ offset, ...sale }) => ({
      _partition: 0,
      _offset: offset,
      id: `e${offset}`,
      ...sale,
      _id: `e${offset}`,
      _duplicate: false,
      _reject: null,
    }));
    await this.duck.run("INSERT INTO events BY NAME SELECT unnest(json_transform($1, $2), recursive := true)", [
      JSON.stringify(rows),
      STRUCTURE,
    ]);
  }

  async ask(
    path: string,
    method = "GET",
  ): Promise<{ status: number; type: string; headers: Record<string, unknown>; text: string }> {
    const message = httpRequest({ host: "127.0.0.1", port: this.serving?.port, path, method, agent: false });
    const answered = once(message, "response");
    message.end();
    const [response] = await answered;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    return {
      status: response.statusCode,
      type: response.headers["content-type"] ?? "",
      headers: response.headers,
      text: Buffer.concat(chunks).toString(),
    };
  }

  async answer(query: string): Promise<AnswerBody> {
    const { status, text } = await this.ask(`/views/takings?${query}`);
    expect(status, text).toBe(200);
    return JSON.parse(text) as AnswerBody;
  }

  async close(): Promise<void> {
    await this.serving?.close();
  }
}

const STRUCTURE = JSON.stringify([
  {
    _partition: "INTEGER",
    _offset: "BIGINT",
    id: "VARCHAR",
    at: "BIGINT",
    shop: "VARCHAR",
    online: "BOOLEAN",
    floor: "BIGINT",
    cents: "BIGINT",
    buyer: "VARCHAR",
    _id: "VARCHAR",
    _duplicate: "BOOLEAN",
    _reject: "VARCHAR",
  },
]);

export let folder = "";
export let pool: DuckPool;
export let redis: TidelineRedis;
const places: Place[] = [];

/** Opens a data directory, DuckDB and Redis for a test file, and closes them and the file's places at its end. */
export function useServers(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tideline-serving-"));
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [folder] });
    redis = openRedis(inject("redisUrl"), () => {});
  });
  afterAll(async () => {
    await Promise.all(places.splice(0).map((place) => place.close()));
    redis.disconnect();
    pool.close();
    await rm(folder, { recursive: true, force: true });
  });
}

export async function place(options: Parameters<Place["start"]>[0] = {}): Promise<Place> {
  const made = await new Place(redis, await pool.connect(), folder).start(options);
  places.push(made);
  return made;
}

/**
 * What covers the log of a scenario, piece after piece: the ends of the batch versions' files, of the closed segments,
 * and of the open one. Each piece begins where the one before ends.
 */
export interface Covered {
  readonly versions: readonly number[];
  readonly closed?: readonly (number | { readonly to: number; readonly token: string })[];
  /** Absent: there is no chain. */
  readonly open?: number;
  /** Where the chain begins; absent: at the end of the newest version. */
  readonly chainFrom?: number;
}

/** A view whose log is covered so, with the files of its newest version. `at.answer(query)` asks it. */
export async function given(
  { versions, closed = [], open, chainFrom = versions.at(-1) ?? 0 }: Covered,
  options: Parameters<Place["start"]>[0] = {},
): Promise<{ at: Place; files: string[] }> {
  const at = await place(options);
  let files: string[] = [];
  for (const [index, to] of versions.entries())
    files = await at.publish(index + 1, versions[index - 1] ?? 0, to, files);
  if (open === undefined) return { at, files };
  await at.chain.reseed(cutAt(chainFrom), versions.length, null);
  let from = chainFrom;
  for (const piece of closed) {
    const { to, token } = typeof piece === "number" ? { to: piece, token: null } : piece;
    await at.apply(from, to);
    await at.chain.seal(token);
    from = to;
  }
  await at.apply(from, open);
  return { at, files };
}

const FILLED: Covered = { versions: [600, 1_000], closed: [1_500, { to: 2_000, token: "3" }], open: 2_500 };

/** Two versions, two closed segments and an open one. */
export const filledPlace = (options?: Parameters<Place["start"]>[0]) => given(FILLED, options);
