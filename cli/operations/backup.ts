import { mkdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { amount } from "../../core/amount.ts";
import { TidelineError } from "../../core/errors.ts";
import { position } from "../../core/log/position.ts";
import { backUp } from "../../store/backup/back-up.ts";
import { BackupFolder, type Point } from "../../store/backup/backup-folder.ts";
import { checkPoints, restore, restoreFile } from "../../store/backup/restore.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { announceRole, type RunningRole, restoringFolder } from "../../store/files/running-roles.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { withinOrNull } from "../../store/time-limit.ts";
import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";
import { bytes, instantText, print } from "../terminal/sheet.ts";

export interface BackupFlags {
  readonly keep?: number;
  readonly json: boolean;
}

export interface RestoreFlags {
  readonly at?: string;
  readonly file?: string;
  readonly replace: boolean;
  readonly check: boolean;
  readonly list: boolean;
  readonly json: boolean;
}

const KAFKA_MS = 10_000;

/**
 * Makes a backup point, then deletes the points that `keep` does not keep. Throws DIRECTORY_IN_USE if another backup is
 * writing to the folder.
 */
export async function runBackup(config: Config, path: string, { keep, json }: BackupFlags): Promise<void> {
  const folder = new BackupFolder(resolve(path));
  const data = new DataDirectory(dataFolder(config));
  if (`${await realPath(folder.root)}/`.startsWith(`${await realPath(data.root)}/`))
    throw new TidelineError(
      "CONFIG_INVALID",
      `${folder.root} lies in the data directory`,
      "Choose a folder elsewhere.",
    );
  const note = await announceRole(new DataDirectory(folder.root), "backup", () => undefined);
  try {
    const [other] = await note.others();
    if (other !== undefined) throw inUse(folder.root, other);
    await working(async (signal, onProgress) => {
      const { point, newFiles, newBytes } = await backUp(data, folder, { nowMs: Date.now(), signal, onProgress });
      const deleted = keep === undefined ? null : await folder.keep(keep, point.name);
      const [files, size] = [point.files.length, sizeOf(point)];
      if (json)
        return say(JSON.stringify({ point: point.name, files, sizeBytes: size, newFiles, newBytes, deleted }, null, 1));
      say(
        `point ${point.name}: ${amount(files, "file")}, ${bytes(size)}; ` +
          `of these new: ${amount(newFiles, "file")}, ${bytes(newBytes)}`,
      );
      if (deleted !== null)
        say(
          `deleted: ${amount(deleted.points.length, "point")}, ` +
            `${amount(deleted.files, "file")} that no other point names`,
        );
    });
  } finally {
    await note.leave();
  }
}

/** Restores the data directory to a point, and says whether Kafka continues from there. */
export async function runRestore(config: Config, path: string, flags: RestoreFlags): Promise<void> {
  const folder = await existing(path);
  if (flags.file !== undefined) return putBack(config, folder, flags);
  // A symbolic link is kept; the folder that it points to is replaced.
  const root = await realPath(dataFolder(config));
  await mkdir(config.home, { recursive: true });
  const note = await announceRole(new DataDirectory(config.home), "restore", () => undefined);
  try {
    const [other] = await note.others();
    if (other !== undefined) throw inUse(config.home, other);
    await restorePoint(config, folder, root, flags);
  } finally {
    await note.leave();
  }
}

async function restorePoint(config: Config, folder: BackupFolder, root: string, flags: RestoreFlags): Promise<void> {
  await working(async (signal, onProgress) => {
    const point = await folder.find(flags.at ?? null);
    await requireNamespace(point, config);
    const options = { nowMs: Date.now(), signal, onProgress, replace: flags.replace };
    const { replaced, schemas } = await restore(folder, point, root, options).catch((error: unknown) => {
      if (signal.aborted)
        process.stderr.write(`${restoringFolder(root)}-… holds what was copied: the same command goes on\n`);
      throw error;
    });
    const kafka = await logsAfter(config, point);
    const [files, size] = [point.files.length, sizeOf(point)];
    if (flags.json)
      return say(JSON.stringify({ point: point.name, files, sizeBytes: size, replaced, warnings: kafka }, null, 1));
    say(`restored point ${point.name}: ${amount(files, "file")}, ${bytes(size)} in ${root}`);
    if (replaced !== null) say(`what was there is in ${replaced}: delete it when it is not needed any more`);
    if (schemas > 0) say(`kept ${schemas} documents about schema ids from there, which the point does not have`);
    for (const warning of kafka) say(`warning: ${warning}`);
    say("Start the roles now.");
  });
}

/** Restores one file of a point to its place. Roles may be running, because files never change. */
async function putBack(config: Config, folder: BackupFolder, { at, file = "", json }: RestoreFlags): Promise<void> {
  await interruptible(async (signal) => {
    const point = await restoreFile(folder, dataFolder(config), { path: file, at: at ?? null, signal });
    say(json ? JSON.stringify({ point: point.name, file }) : `restored ${file} from point ${point.name}`);
  });
}

/** Checks all files of all points, or of one, against their hashes. Sets exit code 1 if one differs. */
export async function checkBackup(_config: Config, path: string, { at, json }: RestoreFlags): Promise<void> {
  const folder = await existing(path);
  await working(async (signal, onProgress) => {
    const names = at === undefined ? await folder.names() : [(await folder.find(at)).name];
    const points: Point[] = [];
    const broken: string[] = [];
    for (const name of names)
      await folder.point(name).then(
        (point) => points.push(point),
        (error: Error) => broken.push(error.message),
      );
    const { files, wrong } = await checkPoints(folder, points, { signal, onProgress });
    const problems = [...broken, ...wrong.map((one) => `missing, or not what was copied: ${one}`)];
    if (problems.length > 0) process.exitCode = 1;
    if (json) return say(JSON.stringify({ points: names, files, problems }, null, 1));
    for (const problem of problems) say(printable(problem));
    const verdict = problems.length === 0 ? "all are whole" : `${problems.length} problems`;
    say(`${amount(names.length, "point")}, ${amount(files, "file")}: ${verdict}`);
  });
}

/** Prints the points. */
export async function listPoints(_config: Config, path: string, { json }: RestoreFlags): Promise<void> {
  const folder = await existing(path);
  const points: Point[] = [];
  for (const name of await folder.names())
    await folder.point(name).then(
      (point) => points.push(point),
      (error: Error) => {
        process.exitCode = 1;
        process.stderr.write(`${printable(error.message)}\n`);
      },
    );
  const value = points.map(({ name, atMs, views, streams, files }) => ({
    name,
    atMs,
    views,
    streams,
    files: files.length,
  }));
  const rows = points.map((point) => [
    point.name,
    instantText(point.atMs),
    String(point.files.length),
    bytes(sizeOf(point)),
    point.streams
      .map(
        ({ topic, archived }) =>
          `${topic} ${Object.entries(archived)
            .map(([p, to]) => `${p}:${to}`)
            .join(" ")}`,
      )
      .join("\n"),
  ]);
  const head = ["point", "time", "files", "size", "archived up to"];
  await print(json, value, { head, right: ["files", "size"], rows }, `no points in ${folder.root}`);
}

/**
 * Throws CONFIG_INVALID if a point is of an installation with another namespace: this installation would not read its
 * archive, which is stored by topic.
 */
async function requireNamespace({ name, streams, files }: Point, config: Config): Promise<void> {
  const { namespace } = config;
  const names = files.flatMap(({ path }) => /^streams\/([^/]+)\//.exec(path)?.[1] ?? []);
  // A restore needs no definitions. If there are some, they say which streams have topics of another name.
  const defined = await loadDefinitions(config).catch(() => null);
  const given = [...(defined?.streams.values() ?? [])].flatMap(({ topic }) => topic ?? []);
  const ours = new Set([...names.map((stream) => topicName(namespace, stream)), ...given]);
  const [other] = streams.filter(({ topic }) => !ours.has(topic));
  if (other === undefined || ours.size === 0 || streams.some(({ topic }) => ours.has(topic))) return;
  throw new TidelineError(
    "CONFIG_INVALID",
    `point ${name} holds the archive of topic ${other.topic}, and this installation's ` +
      `namespace is ${namespace === "" ? "not set" : `"${namespace}"`}`,
    "Set TIDELINE_NAMESPACE as it was when the backup was made; it is the part before the last dot of its topics.",
  );
}

/** Returns a path without symbolic links. The path need not exist yet. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(path) === path) throw error;
    return join(await realPath(dirname(path)), basename(path));
  }
}

/** Returns a warning for each partition whose log does not continue a point's archive. */
async function logsAfter(config: Config, { streams }: Point): Promise<string[]> {
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-restore" });
  try {
    const asked = await withinOrNull(KAFKA_MS, async () => {
      const warnings: string[] = [];
      for (const { topic, topicId, archived } of streams.filter((one) => one.topicId !== "")) {
        if ((await log.topic(topic)).id !== topicId) {
          warnings.push(
            `${topic} is another topic than the one that was archived: its views will stop with TOPIC_RECREATED`,
          );
          continue;
        }
        const { start, stable } = await log.bounds(topic);
        for (const [partition, to] of Object.entries(archived)) {
          const [first, end] = [start.get(Number(partition)) ?? 0n, stable.get(Number(partition)) ?? 0n];
          if (first > position(to))
            warnings.push(`${topic}/${partition}: Kafka begins at ${first}, the archive ends at ${to}: LOG_LOST`);
          if (end < position(to))
            warnings.push(`${topic}/${partition}: Kafka ends at ${end}, before the archive's ${to}: LOG_TRUNCATED`);
        }
      }
      return warnings;
    });
    return asked ?? ["Kafka did not answer: not checked whether it still holds what comes after the restored archive"];
  } catch (error) {
    return [`not checked whether Kafka still holds what comes after the restored archive: ${(error as Error).message}`];
  } finally {
    await log.close();
  }
}

async function working(
  work: (signal: AbortSignal, onProgress: (done: number, total: number) => void) => Promise<void>,
): Promise<void> {
  await interruptible(async (signal) => {
    const progress = showProgress("files");
    try {
      await work(signal, (done, total) => progress.update(done, total));
    } catch (error) {
      // `interruptible` sets the exit code.
      if (!signal.aborted) throw isDiskFull(error) ? diskFull(error) : error;
    } finally {
      progress.stop();
    }
  });
}

function isDiskFull(error: unknown): error is Error {
  return ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function diskFull(cause: Error): TidelineError {
  return new TidelineError(
    "DISK_FULL",
    `there is no room left: ${cause.message}`,
    "Make room and start the command again: it continues with the files that were copied. Nothing else has changed.",
    { cause },
  );
}

function inUse(root: string, { role, pid, host }: RunningRole): TidelineError {
  return new TidelineError(
    "DIRECTORY_IN_USE",
    `a ${role} is writing to ${root} already: process ${pid} on ${host}`,
    "Start this one when that is done. One that was killed on another machine counts for a minute.",
  );
}

async function existing(path: string): Promise<BackupFolder> {
  const folder = new BackupFolder(resolve(path));
  const found = await stat(folder.root).catch(() => null);
  if (found?.isDirectory()) return folder;
  throw new TidelineError(
    "INPUT_MISSING",
    `there is no folder ${folder.root}`,
    "Name the folder that `tideline backup` wrote to.",
  );
}

function dataFolder(config: Config): string {
  return join(config.home, "data");
}

function sizeOf({ files }: Point): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
