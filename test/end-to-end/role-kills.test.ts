import { watch } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { AlertEvent } from "../../core/alerts/alert.ts";
import { eventData } from "../../core/event-stream.ts";
import { mix, randomNumbers, seedState } from "../../core/numbers/random.ts";
import { HIGH_RULE, readings, readingsIn, wantedIds } from "../fixtures/events/heart-rate-readings.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";
import { header, type MailServer, openMailServer } from "../fixtures/servers/mail-server.ts";
import { nightly } from "../tiers.ts";

/**
 * The processes that do not write alerts are killed, Redis is emptied, and the data directory is restored from a
 * backup, while readings arrive. The alerts, their mails, the live stream and the numbers have to be those of a plain
 * fold. It takes minutes, so it runs at night alone.
 */

/** How often each of the two is killed. */
const MOMENTS = 20;
const VIEWS = ["heart-rate", "alert-states", "newest-readings", "patients-measured"];
const TABLES = `
  import { count, sql, sum, table } from "../../core/definition/builders.ts";
  import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";
  const key = sql\`patient_id\`;
  export const newest = table("newest-readings", { stream: heartRates, key, shards: 16 });
  const measures = { readings: count(), beats: sum(sql\`bpm\`) };
  export const measured = table("patients-measured", { stream: heartRates, key, measures, shards: 16 });
`;
const CHUNK_EVERY_MS = 500;
const CHUNK = 24;
const seed = Number(process.env.TIDELINE_KILLS_SEED ?? 20_261_129);
const random = randomNumbers(mix(seedState(seed)), 1);
const below = (limit: number) => Math.floor(random() * limit);
const brokers = () => inject("kafkaBrokers");

let tideline: Installation;
let folder: string;
let backups: string;
let mailServer: MailServer;
let chunk = 0;
const stop = new AbortController();
/** Alerts that a client of the live stream was sent; it comes back with the id of the last event. */
const followed: string[] = [];
let lastEventId: string | null = null;
let following: Promise<void> = Promise.resolve();
let onFollowed = () => {};

describe.runIf(nightly)("with worker and server killed", () => {
  beforeAll(async () => {
    mailServer = await openMailServer();
    folder = join(process.cwd(), ".tideline", `role-kills-${Date.now()}`);
    await mkdir(folder, { recursive: true });
    backups = await mkdtemp(join(tmpdir(), "tideline-backups-"));
    await writeFile(
      join(folder, "definitions.ts"),
      `${HIGH_RULE}
     import { delivery, mail } from "../../core/definition/builders.ts";
     export const each = delivery("each", { to: mail({ to: "ward@clinic.example" }), from: "start" });`,
    );
    const system = join(process.cwd(), "systems/patients");
    const tables = join(folder, "tables");
    await mkdir(tables);
    await writeFile(join(tables, "patients.ts"), TABLES.replaceAll("../../", "../../../"));
    tideline = await Installation.open("role-kills", {
      TIDELINE_SYSTEM: system,
      TIDELINE_VIEWS: [join(system, "views"), join(system, "tables"), tables].join(),
      TIDELINE_RULES: folder,
      TIDELINE_DELIVERIES: folder,
      TIDELINE_SMTP_URL: mailServer.url,
    });
    await tideline.run("init");
    await Promise.all([
      tideline.start("speed"),
      tideline.start("worker", { args: ["--no-schedules"] }),
      tideline.start("serve"),
    ]);
    following = follow();
  });

  afterAll(async () => {
    stop.abort();
    await tideline?.close();
    await following;
    await mailServer?.close();
    await rm(folder, { recursive: true });
    await rm(backups, { recursive: true });
  });

  async function arrive(): Promise<void> {
    await produce(brokers(), tideline.topic("heart-rates"), readings(chunk, random, CHUNK));
    chunk += 1;
  }

  /** Readings arrive until `reached`. */
  async function arriveUntil(reached: Promise<void>): Promise<void> {
    let isReached = false;
    const done = reached.then(() => {
      isReached = true;
    });
    while (!isReached) {
      await arrive();
      await Promise.race([done, delay(CHUNK_EVERY_MS)]);
    }
  }

  /** Follows the live stream of alerts, again whenever it ends. */
  async function follow(): Promise<void> {
    const url = `${tideline.apiUrl}/alerts/live?rule=high`;
    while (!stop.signal.aborted) {
      const last = lastEventId;
      const headers: Record<string, string> = last === null ? {} : { "last-event-id": last };
      try {
        const response = await fetch(url, { headers, signal: stop.signal });
        for await (const { data, id } of eventData(response.body as ReadableStream<Uint8Array>)) {
          lastEventId = id;
          followed.push((JSON.parse(data) as { id: string }).id);
          onFollowed();
        }
      } catch {
        // The server was killed, or the test is over.
      }
      await delay(100, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }

  /** Resolves when the data directory has changed `count` times. */
  function changesOfData(count: number): Promise<void> {
    return new Promise((resolve) => {
      let left = count;
      const watcher = watch(join(tideline.home, "data"), { recursive: true }, () => {
        left -= 1;
        if (left > 0) return;
        watcher.close();
        resolve();
      });
      // A folder that is gone before it is watched.
      watcher.on("error", () => undefined);
    });
  }

  /** Kills the worker when a settlement has changed N files. The settlement continues with the next worker. */
  async function killWorker(): Promise<void> {
    const reached = changesOfData(1 + below(40));
    const settling = tideline.refresh(...VIEWS).catch(() => undefined);
    await arriveUntil(reached);
    await tideline.kill("worker");
    if (random() < 0.5) await tideline.emptyRedis();
    await tideline.restart("worker");
    await settling;
  }

  /** Kills the server when it has sent N alerts; some are written while it is away. */
  async function killServe(): Promise<void> {
    let left = 1 + below(30);
    const reached = new Promise<void>((resolve) => {
      onFollowed = () => {
        left -= 1;
        if (left === 0) resolve();
      };
    });
    await arriveUntil(reached);
    onFollowed = () => {};
    await tideline.kill("serve");
    if (random() < 0.5) await tideline.emptyRedis();
    await arrive();
    await tideline.restart("serve");
  }

  /** Brings the data directory back to the backup, as the documents say. */
  async function restore(): Promise<void> {
    await tideline.stop("worker", "serve", "speed");
    if (random() < 0.5) await tideline.emptyRedis();
    // A role that was killed counts as running for some seconds.
    await until(
      "the restore",
      () => tideline.begin("restore", backups, "--replace"),
      ({ exitCode }) => exitCode === 0,
    );
    await tideline.restart("speed", "serve", "worker");
  }

  const valuesOf = async (stream: string) =>
    [...(await readLog(brokers(), tideline.topic(stream))).values()].flat().map(({ value }) => value);
  const sorted = (ids: Iterable<string>) => [...ids].sort();

  /** The ids of the rule's alerts, as another client reads them: each once, because a repeat is a duplicate. */
  async function writtenIds(): Promise<Set<string>> {
    const events = (await valuesOf("alerts")).map((value) => JSON.parse(String(value)) as AlertEvent);
    return new Set(
      events.filter(({ rule, kind }) => rule === "high" && kind === "opened").map(({ subject }) => subject),
    );
  }

  /** The rows of a view or table, once they are complete and `isAll` says so. */
  async function rowsOf(path: string, isAll: (rows: Record<string, unknown>[]) => boolean) {
    const ask = async () =>
      (await fetch(`${tideline.apiUrl}${path}`).then((response) => response.json())) as {
        rows?: Record<string, unknown>[];
        complete?: boolean;
      };
    const { rows = [] } = await until(path, ask, ({ rows = [], complete }) => complete === true && isAll(rows));
    return rows;
  }

  test(`alerts, mails, the live stream and the numbers are those of a plain fold, whenever worker and server are killed (seed ${seed})`, async () => {
    for (let round = 0; round < MOMENTS; round++) {
      await killServe();
      if (round === Math.floor(MOMENTS / 3)) await tideline.run("backup", backups);
      await killWorker();
      if (round === Math.floor((2 * MOMENTS) / 3)) await restore();
    }
    await arrive();

    const log = await valuesOf("heart-rates");
    const wanted = wantedIds(log);
    const all = (count: number) => count >= wanted.size;
    await until("the mails", async () => mailServer.mails.length, all);
    await until("the live stream", async () => new Set(followed).size, all);
    expect(sorted(await writtenIds())).toEqual(sorted(wanted));
    expect(sorted(new Set(followed))).toEqual(sorted(wanted));
    // Nobody killed the process that mails.
    const mailed = mailServer.mails.map((mail) => header(mail, "Message-ID") ?? "");
    expect(sorted(mailed)).toEqual(sorted([...wanted].map((id) => `<each.${id}@tideline>`)));

    await tideline.refresh(...VIEWS);
    const states = await rowsOf("/tables/alert-states?limit=10000", (rows) => rows.length >= wanted.size);
    const ofRule = states.filter(({ rule }) => rule === "high");
    expect(sorted(ofRule.map(({ alert }) => String(alert)))).toEqual(sorted(wanted));
    expect(new Set(ofRule.map(({ opened }) => opened))).toEqual(new Set([1]));
    const count = readingsIn(log).length;
    const counted = (rows: Record<string, unknown>[]) => rows.reduce((sum, { readings }) => sum + Number(readings), 0);
    const days = "/views/heart-rate?by=&every=1d&from=2026-01-01";
    expect(counted(await rowsOf(days, (rows) => counted(rows) >= count))).toBe(count);

    // A patient's readings lie in one partition, so that their order there is the order of the table.
    const ofPatient = new Map<string, ReturnType<typeof readingsIn>>();
    for (const reading of readingsIn(log))
      ofPatient.set(reading.patient_id, [...(ofPatient.get(reading.patient_id) ?? []), reading]);
    const patients = (rows: Record<string, unknown>[]) => rows.length >= ofPatient.size;
    const idOf = (row: Record<string, unknown>) => String(row.patient_id);
    const newest = await rowsOf("/tables/newest-readings?limit=100000", patients);
    expect(new Map(newest.map((row) => [idOf(row), row.reading_id]))).toEqual(
      new Map([...ofPatient].map(([patient, all]) => [patient, all.at(-1)?.reading_id])),
    );
    const isCounted = (rows: Record<string, unknown>[]) => counted(rows) >= count;
    const measured = await rowsOf("/tables/patients-measured?limit=100000", isCounted);
    const beats = (all: readonly { readonly bpm: number }[]) => all.reduce((total, { bpm }) => total + bpm, 0);
    expect(new Map(measured.map((row) => [idOf(row), [row.readings, row.beats]]))).toEqual(
      new Map([...ofPatient].map(([patient, all]) => [patient, [all.length, beats(all)]])),
    );
  }, 900_000);
});
