import { readFileSync } from "node:fs";
import { access, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, type WorkerOptions } from "@temporalio/worker";
import { currentProgram } from "../../store/files/program.ts";

const workflowsPath = fileURLToPath(new URL("../../workflows/index.ts", import.meta.url));

/**
 * Returns the workflows in the form that a worker takes. A compiled program stores the bundle, because bundling takes
 * seconds.
 */
export async function workflowCode(): Promise<Pick<WorkerOptions, "workflowBundle" | "workflowsPath">> {
  const { folder } = currentProgram();
  if (folder === null) return { workflowsPath };
  const codePath = join(folder, `workflows-${sdkVersion()}.js`);
  if (await isThere(codePath)) return { workflowBundle: { codePath } };
  const workflowBundle = await bundleWorkflowCode({ workflowsPath });
  const scratch = `${codePath}.${process.pid}`;
  // If the program's folder cannot be written to, every start bundles again, which is only slower.
  await writeFile(scratch, workflowBundle.code)
    .then(() => rename(scratch, codePath))
    .catch(() => undefined);
  return { workflowBundle };
}

/** Another version of the SDK may make another bundle. */
function sdkVersion(): string {
  const file = createRequire(import.meta.url).resolve("@temporalio/worker/package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
