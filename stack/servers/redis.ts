import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { LocalProcess, SERVER_READY_LIMIT_MS } from "../process/local-process.ts";
import type { Work } from "../process/work.ts";
import { cached } from "../programs/cache.ts";
import { canInstallPackages, findProgram, installPackages, serverMissing } from "../programs/programs.ts";
import { type Ports, requireFreePorts } from "./ports.ts";

/** Debian's redis-server package starts a service. The package redis-tools has the same program under another name. */
const debianProgram = "/usr/bin/redis-check-rdb";

async function installOnDebian(cacheDir: string, work: Work): Promise<string> {
  await installPackages(cacheDir, ["redis-tools"], work);
  // The program behaves according to the name that it is started with.
  const folder = await cached(cacheDir, "redis", work, (folder) =>
    symlink(debianProgram, join(folder, "redis-server")),
  );
  return join(folder, "redis-server");
}

export async function findRedis(cacheDir: string, work: Work): Promise<string> {
  const found = (await findProgram("redis-server")) ?? (await findProgram("redis-server", join(cacheDir, "redis")));
  if (found !== undefined) return found;
  if (await canInstallPackages()) return installOnDebian(cacheDir, work);
  const names = { "apt-get": "redis-server", brew: "redis", dnf: "redis", apk: "redis", pacman: "redis" };
  throw await serverMissing("Redis", names, "REDIS_URL");
}

/** State must survive a restart and must never be evicted, because answers are made from it. */
const config = (folder: string, port: number) => `bind 127.0.0.1
port ${port}
dir ${JSON.stringify(folder)}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
# keeps this file's path in the command line, by which a later start recognises the process
set-proc-title no
`;

async function answersPing(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, connectTimeout: 1000, retryStrategy: () => null });
  client.on("error", () => {}); // connect() rejects with the same
  try {
    await client.connect(); // also waits until the append-only file is loaded
    await client.ping();
  } finally {
    client.disconnect();
  }
}

export function redisProcess(home: string, cacheDir: string, ports: Ports): LocalProcess {
  const folder = join(home, "redis");
  const configFile = join(folder, "redis.conf");
  return new LocalProcess({
    name: "redis",
    title: "Redis",
    home,
    mark: configFile,
    async prepare(work) {
      const command = await findRedis(cacheDir, work);
      await requireFreePorts(ports, ["redis"]);
      await mkdir(folder, { recursive: true });
      await writeFile(configFile, config(folder, ports.redis));
      return { command, args: [configFile] };
    },
    probe: () => answersPing(`redis://127.0.0.1:${ports.redis}`),
    readyLimitMs: SERVER_READY_LIMIT_MS,
    graceMs: 10_000,
  });
}
