import { createReadStream, createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { constants, createBrotliCompress, createBrotliDecompress } from "node:zlib";
import { execa } from "execa";
import { z } from "zod";
import type { RawRecord } from "../fixtures/events/produce.ts";

/** What a release had stored when it was ended in the middle of its work, and what of that is known. */

const folder = fileURLToPath(new URL(".", import.meta.url));

/** The user's own stream and views, as they are in the end. */
export const DEFINITIONS = join(folder, "definitions");

export const Release = z.strictObject({
  release: z.string(),
  /** Runs that were under way. */
  runs: z.array(z.strictObject({ type: z.string(), workflowId: z.string(), runId: z.string() })),
  schedules: z.array(z.string()),
  /** The schedule that people had paused. */
  paused: z.string(),
});
export type Release = z.infer<typeof Release>;

/** Where the home of a release is kept, and what is known of it. */
export function releaseFiles(release: string): { readonly archive: string; readonly description: string } {
  return { archive: join(folder, `${release}.tar.br`), description: join(folder, `${release}.json`) };
}

/** What the homes of servers have that no start needs. */
const LEFT_OUT = ["logs", "run", "kafka/server.properties", "kafka/script-logs", "redis/redis.conf"];

/** Keeps a home as a compressed archive. */
export async function packHome(home: string, archive: string): Promise<void> {
  const exclude = LEFT_OUT.map((name) => `--exclude=./${name}`);
  const plain = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--sparse", ...exclude];
  const tar = execa("tar", ["--create", ...plain, "--directory", home, "."], { encoding: "buffer", buffer: false });
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 9,
    [constants.BROTLI_PARAM_LGWIN]: 24,
  };
  await Promise.all([pipeline(tar.stdout, createBrotliCompress({ params }), createWriteStream(archive)), tar]);
}

/** Makes a home of what a release had stored. */
export async function unpackHome(archive: string, home: string): Promise<void> {
  await mkdir(home, { recursive: true });
  // Reads to the end of its input: what closes it earlier would be an error of the pipe.
  const tar = execa("tar", ["--extract", "--ignore-zeros", "--directory", home], { buffer: false });
  await Promise.all([pipeline(createReadStream(archive), createBrotliDecompress(), tar.stdin), tar]);
}

const START_MS = Date.parse("2026-01-01T00:00:00Z");

/** Readings of weather stations; some are late, some come twice. */
export const READINGS: readonly RawRecord[] = Array.from({ length: 900 }, (_, index) => {
  const number = index % 41 === 40 ? index - 7 : index;
  const station = `S${number % 7}`;
  const reading = {
    id: `r${number}`,
    station,
    at: START_MS + (number % 13 === 5 ? number - 60 : number) * 600_000,
    celsius: ((number * 37) % 500) / 10 - 15,
    ...(number % 5 === 0 ? {} : { wind: (number * 17) % 90 }),
    ...(number % 11 === 0 ? { manual: true } : {}),
    gusts: Array.from({ length: number % 4 }, (_, gust) => ({ speed: (number * 7 + gust * 13) % 120 })),
  };
  return { key: station, value: Buffer.from(JSON.stringify(reading)) };
});

/** Records of that stream that no contract accepts. */
export function broken(count: number): RawRecord[] {
  return Array.from({ length: count }, (_, index) => ({ key: `S${index}`, value: Buffer.from(`{"id":"r${index}",`) }));
}
