/**
 * A program of its own, because the SDK cannot stop its download, but a process can be ended. It downloads the dev
 * server into the folder in its argument. It does so by starting a dev server, because that makes the SDK fetch it.
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
