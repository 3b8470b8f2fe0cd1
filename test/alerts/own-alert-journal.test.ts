import { mkdtemp, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { journalled, NO_OWN_ALERTS } from "../../core/alerts/own-journal.ts";
import { OwnAlerts } from "../../serving/alerts/own-alerts.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { announceRole, lostRoles } from "../../store/files/running-roles.ts";

let root: string;
let data: DataDirectory;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tideline-journal-"));
  data = new DataDirectory(root);
});
afterEach(() => rm(root, { recursive: true }));

const heldBy = (holder: string) => ({ ...NO_OWN_ALERTS, holder });

test("of two that write the next version one does, and the other is told", async () => {
  const [one, other] = [new OwnAlertJournal(data), new OwnAlertJournal(data)];
  const written = await Promise.all([one.write(0, heldBy("one")), other.write(0, heldBy("other"))]);
  expect(written.filter(Boolean).length).toBe(1);
  const { number, journal } = await one.read();
  expect([number, journal.holder]).toEqual([1, written[0] ? "one" : "other"]);
});

test("a process that stood still while others wrote is told, also when its number is free again", async () => {
  const journal = new OwnAlertJournal(data);
  for (const [number, holder] of ["slow", "a", "b", "c", "d"].entries()) await journal.write(number, heldBy(holder));
  expect(await journal.write(1, heldBy("slow"))).toBe(false);
  expect(await journal.beat(1)).toBe(false);
  expect(await journal.beat(5)).toBe(true);
  expect((await journal.read()).journal.holder).toBe("d");
  expect((await readdir(join(root, ".own-alerts"))).filter((name) => !name.startsWith(".")).length).toBe(2);
});

test("there is none at first, and a damaged one is as none", async () => {
  const journal = new OwnAlertJournal(data);
  expect(await journal.read()).toEqual({ number: 0, journal: NO_OWN_ALERTS });
  await journal.write(0, heldBy("one"));
  for (const text of ["{", "", "null", '{"holder":1}', '{"holder":null,"alerts":[{}]}']) {
    await writeFile(join(root, ".own-alerts", "000000000001.json"), text);
    expect(await journal.read()).toEqual({ number: 1, journal: NO_OWN_ALERTS });
  }
  expect(await journal.write(1, heldBy("two"))).toBe(true);
});

test("own alerts that were read last are shown while the journal cannot be read, and its log says so once", async () => {
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
  const [folder, away] = [".own-alerts", "away"].map((name) => join(root, name)) as [string, string];
  const problem = { key: "server/redis", severity: "critical" as const, says: "Redis does not answer" };
  const begun = journalled(NO_OWN_ALERTS, { opened: [{ problem, sinceMs: 5 }], cleared: [] }, [], 20);
  await new OwnAlertJournal(data).write(0, begun);
  const alerts = new OwnAlerts(data, logger);
  const keys = async () => {
    await alerts.start();
    return (await alerts.all()).map(({ opened }) => opened.key);
  };
  expect(await keys()).toEqual(["server/redis"]);
  await rename(folder, away);
  await writeFile(folder, "not a folder");
  expect([await keys(), await keys()]).toEqual([["server/redis"], ["server/redis"]]);
  expect(lines.length).toBe(1);
  await rm(folder);
  expect(await keys()).toEqual([]);
  alerts.close();
});

test("a role is lost when it was killed and no other of its kind lives; one that has ended by itself is not", async () => {
  const [killed, ended] = [await announceRole(data, "speed", () => {}), await announceRole(data, "serve", () => {})];
  await ended.leave();
  const nowMs = Date.now();
  expect(await lostRoles(data, nowMs)).toEqual([]);
  const [note = ""] = await readdir(join(root, ".roles"));
  const old = new Date(nowMs - 120_000);
  await utimes(join(root, ".roles", note), old, old);
  expect(await lostRoles(data, nowMs)).toEqual(["speed"]);
  const second = await announceRole(data, "speed", () => {});
  expect(await lostRoles(data, Date.now())).toEqual([]);
  await Promise.all([second.leave(), killed.leave()]);
});
