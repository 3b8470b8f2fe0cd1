import { chmod, copyFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";
import { canInstallPackages, findProgram, installPackages, serverMissing } from "./programs.ts";

/** The first Go that can fetch a newer one by itself (GOTOOLCHAIN). */
const fetchesToolchains = 21;

async function goMinor(go: string): Promise<number> {
  const { stdout } = await execa(go, ["version"], { reject: false });
  return Number(/go1\.(\d+)/.exec(stdout)?.[1] ?? "0");
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/**
 * Fetches a newer Go with an old one (Debian 12 has 1.19): a toolchain is a Go module, and any Go can fetch a module.
 * Then does the steps that newer versions do after that download (Go's own cmd/go/internal/toolchain/select.go).
 */
async function fetchToolchain(go: string, version: string, folder: string, work: Work): Promise<string> {
  const { stdout: target } = await execa(go, ["env", "GOOS", "GOARCH"]);
  const module = `golang.org/toolchain@v0.0.1-go${version}.${target.trim().replace("\n", "-")}`;
  await writeFile(join(folder, "go.mod"), "module tideline.local/toolchain\n\ngo 1.19\n");
  work.report(`fetching Go ${version}`);
  const output: string[] = [];
  const env = { GOFLAGS: "-modcacherw" };
  await run(go, ["mod", "download", "-json", module], work, { cwd: folder, env, onLine: (line) => output.push(line) });
  const { Dir: root } = z.object({ Dir: z.string() }).parse(JSON.parse(output.join("\n")));
  for (const program of [...(await filesUnder(join(root, "bin"))), ...(await filesUnder(join(root, "pkg/tool")))]) {
    await chmod(program, 0o755);
  }
  for (const file of await filesUnder(join(root, "src"))) {
    if (file.endsWith("/_go.mod")) await copyFile(file, join(dirname(file), "go.mod"));
  }
  return join(root, "bin", "go");
}

/**
 * Returns a `go` of this version, or one that can fetch it; `folder` is for temporary files. Throws `SERVER_MISSING`.
 */
export async function findGo(version: string, folder: string, cacheDir: string, work: Work): Promise<string> {
  if ((await findProgram("go")) === undefined && (await canInstallPackages())) {
    await installPackages(cacheDir, ["golang-go", "ca-certificates"], work);
  }
  const go = await findProgram("go");
  if (go === undefined) {
    throw await serverMissing(
      "Temporal (nor Go, to build it)",
      { brew: "temporal", dnf: "golang", apk: "go", pacman: "go", "apt-get": "golang-go" },
      "TEMPORAL_ADDRESS",
    );
  }
  return (await goMinor(go)) >= fetchesToolchains ? go : fetchToolchain(go, version, folder, work);
}
