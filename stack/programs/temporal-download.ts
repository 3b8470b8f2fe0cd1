/**
 * A program of its own: the SDK offers no way to stop its download, a process can be ended. Downloads the dev server
 * into the folder that is its argument, by starting one, which is how the SDK gets it.
 */
import { TestWorkflowEnvironment } from "@temporalio/testing";

const [downloadDir] = process.argv.slice(2);
if (downloadDir === undefined) throw new Error("usage: temporal-download COMPACTOR");

TestWorkflowEnvironment.createLocal({ server: { executable: { type: "cached-download", downloadDir } } })
  .then((environment) => environment.teardown())
  .catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
