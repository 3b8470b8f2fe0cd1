import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";
import { cached } from "./cache.ts";
import { findGo } from "./go.ts";
import { findProgram, serverMissing } from "./programs.ts";

/** Later versions of Temporal's command line have a replace directive, which `go get` refuses. */
export const temporalVersion = "1.5.1";
const goVersion = "1.25.0";
const module = "github.com/temporalio/cli/cmd/temporal";

const downloadLimitMs = 5 * 60_000;
/** Behind a firewall that drops packets, a connection only ends with a timeout. */
const firstByteLimitMs = 20_000;

/** Lets the SDK download its dev server into `folder`; returns `false` if this machine cannot reach it. */
async function download(folder: string, work: Work): Promise<boolean> {
  const scratch = join(folder, "download");
  await mkdir(scratch);
  const finished = new AbortController();
  const silent = new AbortController();
  const watch = async () => {
    await sleep(firstByteLimitMs, undefined, { signal: finished.signal });
    if ((await readdir(scratch)).length === 0) silent.abort();
  };
  const watching = watch().catch(() => {});
  try {
    work.report("downloading it");
    const script = fileURLToPath(new URL("./temporal-download.ts", import.meta.url));
    const args = ["--import", import.meta.resolve("tsx"), script, scratch];
    const limited = { ...work, signal: AbortSignal.any([work.signal, silent.signal]) };
    await run(process.execPath, args, limited, { timeoutMs: downloadLimitMs });
    const [file] = await readdir(scratch);
    if (file === undefined) return false;
    await rename(join(scratch, file), join(folder, "temporal"));
    await chmod(join(folder, "temporal"), 0o755);
    return true;
  } catch {
    work.signal.throwIfAborted();
    return false;
  } finally {
    finished.abort();
    await watching;
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Builds the server from the Go module proxy. This takes two to five minutes on two cores, mostly for compiling. */
async function build(folder: string, cacheDir: string, work: Work): Promise<void> {
  const scratch = join(folder, "build");
  await mkdir(scratch);
  const go = await findGo(goVersion, scratch, cacheDir, work);
  await writeFile(join(scratch, "go.mod"), `module tideline.local/temporal\n\ngo ${goVersion}\n\ntool ${module}\n`);
  const env = { GOFLAGS: "-mod=mod -buildvcs=false", GOTOOLCHAIN: "auto" };
  const goRun = (args: string[], onLine: (line: string) => void) => run(go, args, work, { cwd: scratch, env, onLine });

  work.report("fetching its sources");
  let modules = 0;
  await goRun(["get", `${module}@v${temporalVersion}`], (line) => {
    if (line.startsWith("go: downloading") && ++modules % 20 === 0)
      work.report(`fetching its sources: ${modules} modules`);
  });
  let total = 0;
  await goRun(["list", "-deps", module], () => total++);
  let compiled = 0;
  const ldflags = `-s -w -X github.com/temporalio/cli/temporalcli.Version=${temporalVersion}`;
  work.report(`building it, once (a few minutes): ${total} packages`);
  await goRun(["build", "-v", "-ldflags", ldflags, "-o", join(folder, "temporal"), module], () => {
    if (++compiled % 100 === 0) work.report(`building it, once (a few minutes): ${compiled} of ${total} packages`);
  });
  await rm(scratch, { recursive: true, force: true });
}

/** Returns `temporal` on PATH, else from the cache, else downloaded, else built. Throws `SERVER_MISSING`. */
export async function findTemporal(cacheDir: string, work: Work): Promise<string> {
  const found = await findProgram("temporal");
  if (found !== undefined) return found;
  const make = async (folder: string) => {
    if (await download(folder, work)) return;
    await build(folder, cacheDir, work);
  };
  const folder = await cached(cacheDir, `temporal-${temporalVersion}`, work, make).catch(async (cause: unknown) => {
    work.signal.throwIfAborted();
    throw await serverMissing("Temporal", { brew: "temporal", "apt-get": "golang-go" }, "TEMPORAL_ADDRESS", cause);
  });
  return join(folder, "temporal");
}
