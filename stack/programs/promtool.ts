import { join } from "node:path";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";
import { cached } from "./cache.ts";
import { findProgram, serverMissing } from "./programs.ts";

/**
 * Returns the path of Prometheus' promtool, for tests of alert rules. If it is not installed, it is unpacked from
 * Debian's package. The package itself is not installed, because that would start a server. Throws SERVER_MISSING.
 */
export async function findPromtool(cacheDir: string, work: Work): Promise<string> {
  const found = await findProgram("promtool");
  if (found !== undefined) return found;
  if ((await findProgram("apt-get")) === undefined || (await findProgram("dpkg-deb")) === undefined)
    throw await serverMissing("promtool", { brew: "prometheus", dnf: "prometheus2", pacman: "prometheus" }, "PATH");
  const folder = await cached(cacheDir, "promtool-debian", work, (made) => fetchPromtool(made, work));
  return join(folder, "usr", "bin", "promtool");
}

async function fetchPromtool(folder: string, work: Work): Promise<void> {
  const here = { cwd: folder, onLine: (line: string) => work.report(`apt-get: ${line}`) };
  const download = () => run("apt-get", ["-q", "download", "prometheus"], work, here);
  // The package lists may be missing, or older than the package archive.
  await download().catch(async () => {
    await run("apt-get", ["-q", "update"], work, here);
    await download();
  });
  await run("sh", ["-c", "dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool"], work, here);
  await run("sh", ["-c", "rm prometheus_*.deb"], work, here);
}
